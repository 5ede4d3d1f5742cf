"""ClamAV: a client of clamd's INSTREAM command, over TCP or a Unix socket.

Protocol (clamd(8), COMMANDS): `zINSTREAM` and NUL; then chunks, each after its length in four
octets, big-endian; a length of zero ends them.  The answer is one line ended by NUL.
"""

import asyncio
import re
from contextlib import aclosing
from typing import Final

from mailstore.sealed.draft import Draft
from relay.scan.scanner import (
    CLEAN,
    ScanFacts,
    ScannerFailed,
    ScanVerdict,
    Streams,
    exchange,
    infected,
    octets_of,
    printable,
)

_MAX_ANSWER: Final = 4096  # octets: a signature's name and a dozen more
_FOUND: Final = re.compile(rb"stream: (.+) FOUND", re.DOTALL)
_TOO_LARGE: Final = b"INSTREAM size limit exceeded. ERROR"


def read_answer(answer: bytes) -> ScanVerdict:
    """The verdict in an answer without its NUL.  Raises ScannerFailed."""
    if answer == b"stream: OK":
        return CLEAN
    found = _FOUND.fullmatch(answer)
    if found is not None:
        return infected(found[1].decode("utf-8", "replace"))
    if answer == _TOO_LARGE:
        raise ScannerFailed("message over clamd's StreamMaxLength; it must not be below our limit")
    raise ScannerFailed(f"answered: {printable(answer.decode('utf-8', 'replace'))}")


class Clamav:
    """A clamd at `HOST:PORT`, `[IPV6]:PORT` or `unix:/PATH`; a connection for each message."""

    name = "clamav"

    def __init__(self, address: str) -> None:
        self._address = address

    async def scan(self, draft: Draft, facts: ScanFacts) -> ScanVerdict:  # noqa: ARG002 - Scanner's
        """Judge a message by its content alone.  Raises ScannerFailed and StoreUnavailable."""

        async def send(writer: asyncio.StreamWriter) -> None:
            writer.write(b"zINSTREAM\0")
            async with aclosing(octets_of(draft)) as chunks:
                async for chunk in chunks:
                    writer.write(len(chunk).to_bytes(4, "big"))
                    writer.write(chunk)
                    await writer.drain()
            writer.write(bytes(4))
            await writer.drain()

        return read_answer(await exchange(self._open(), send, _receive))

    async def probe(self) -> None:
        """Find out whether clamd answers.  Raises ScannerFailed."""

        async def send(writer: asyncio.StreamWriter) -> None:
            writer.write(b"zPING\0")
            await writer.drain()

        answer = await exchange(self._open(), send, _receive)
        if answer != b"PONG":
            raise ScannerFailed(f"answered: {printable(answer.decode('utf-8', 'replace'))}")

    async def _open(self) -> Streams:
        if self._address.startswith("unix:"):
            path = self._address.removeprefix("unix:")
            return await asyncio.open_unix_connection(path, limit=_MAX_ANSWER)
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=_MAX_ANSWER)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\0"))[:-1]
