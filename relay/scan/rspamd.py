"""rspamd: a client of its normal worker, which judges a message posted to `/checkv2` over HTTP.

Of rspamd's actions, `reject` refuses the message and `soft reject` defers it.  `no action`,
`greylist`, `add header` and `rewrite subject` accept it unchanged: the relay never changes a
message, and an operator of the white list is not greylisted.  Any other action is unknown here and
counts as no answer.

The request is HTTP/1.0 (RFC 1945), so that the answer comes whole and not in chunks.
"""

import asyncio
import ipaddress
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from mailstore.sealed.draft import Draft
from relay.scan.scanner import (
    CLEAN,
    DEFER,
    ScanFacts,
    ScannerFailed,
    ScanVerdict,
    Streams,
    exchange,
    infected,
    octets_of,
    printable,
)

_MAX_ANSWER: Final = 1024 * 1024  # octets: symbols by the dozen, some with long options
_MAX_HEAD: Final = 48 * 1024  # octets: rspamd's own limit is 80 kB for the head of a request
_MAX_FIELD: Final = 1000  # octets; a longer field is of no use
_ACCEPTED: Final = frozenset({"no action", "greylist", "add header", "rewrite subject"})
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")


def read_answer(body: bytes) -> ScanVerdict:
    """The verdict in the JSON of an answer.  Raises ScannerFailed."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ScannerFailed("answered something that is not JSON") from error
    action = answer.get("action") if isinstance(answer, dict) else None
    if not isinstance(action, str):
        raise ScannerFailed("answered without an action")
    if action in _ACCEPTED:
        return CLEAN
    if action == "reject":
        return infected(_reason(answer))
    if action == "soft reject":
        return DEFER
    raise ScannerFailed(f"answered with no action that is known here: {printable(action)}")


def _reason(answer: dict[str, Any]) -> str:
    messages = answer.get("messages")
    stated = messages.get("smtp_message") if isinstance(messages, dict) else None
    if isinstance(stated, str) and stated:
        return stated
    return f"score {answer.get('score')} of {answer.get('required_score')}"


def request_head(url: SplitResult, hostname: str, size: int, facts: ScanFacts) -> bytes:
    """The request up to its body of `size` octets, to the rspamd at `url`, from our `hostname`.

    Recipients that do not fit into the head of a request are left out.
    """
    head = f"POST {url.path.rstrip('/')}/checkv2 HTTP/1.0\r\n".encode()
    head += _field("Host", url.netloc) + _field("Content-Length", str(size))
    for line in _fields(hostname, facts):
        if len(head) + len(line) > _MAX_HEAD:
            break
        head += line
    return head + b"\r\n"


def _fields(hostname: str, facts: ScanFacts) -> Iterator[bytes]:
    yield _field("MTA-Name", hostname)
    yield _field("Queue-Id", facts.message)
    yield _field("Helo", facts.helo)
    if _is_ip(facts.address):
        yield _field("IP", facts.address)
    yield _field("From", facts.sender)
    for recipient in facts.recipients:
        yield _field("Rcpt", recipient)


def _field(name: str, value: str) -> bytes:
    octets = value.encode("utf-8", "replace")[:_MAX_FIELD]
    return b"%s: %s\r\n" % (name.encode(), _CONTROLS.sub(b"?", octets))


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


class Rspamd:
    """The rspamd at an `http://` or `https://` URL; `hostname` is ours, for rspamd's log.

    One connection for each message.
    """

    name = "rspamd"

    def __init__(self, url: str, hostname: str) -> None:
        self._hostname = hostname
        self._url = urlsplit(url)
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None

    async def scan(self, draft: Draft, facts: ScanFacts) -> ScanVerdict:
        """Judge a message and its envelope.  Raises ScannerFailed and StoreUnavailable."""

        async def send(writer: asyncio.StreamWriter) -> None:
            writer.write(request_head(self._url, self._hostname, draft.size, facts))
            async with aclosing(octets_of(draft)) as chunks:
                async for chunk in chunks:
                    writer.write(chunk)
                    await writer.drain()
            await writer.drain()

        return read_answer(await exchange(self._open(), send, _receive))

    async def probe(self) -> None:
        """Find out whether rspamd answers.  Raises ScannerFailed."""

        async def send(writer: asyncio.StreamWriter) -> None:
            path = self._url.path.rstrip("/")
            writer.write(f"GET {path}/ping HTTP/1.0\r\n".encode())
            writer.write(_field("Host", self._url.netloc) + b"\r\n")
            await writer.drain()

        await exchange(self._open(), send, _receive)

    async def _open(self) -> Streams:
        port = self._url.port or (443 if self._tls else 80)
        return await asyncio.open_connection(self._url.hostname, port, ssl=self._tls)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    status = _STATUS.match(head)
    if status is None:
        raise ScannerFailed("answered something that is not HTTP")
    if status[1] != b"200":
        raise ScannerFailed(f"answered with HTTP status {status[1].decode()}")
    length = _LENGTH.search(head)
    if length is None:
        raise ScannerFailed("answered without a Content-Length")
    if int(length[1]) > _MAX_ANSWER:
        raise ScannerFailed("answers without end")
    return await reader.readexactly(int(length[1]))
