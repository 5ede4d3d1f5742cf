"""The header section of a message: the few facts that admission needs, and our own trace field.

Pure and bounded.  The message is never parsed as MIME on its way through (DOMAIN §9.23): only the
octets up to the first empty line are read, and no more than a limit.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from foundation.privacy import mask
from relay.smtp.author_domains import UNREADABLE, author_domains

__all__ = [
    "MAX_HEADER",
    "UNREADABLE",
    "HeaderCollector",
    "HeaderFacts",
    "TraceFacts",
    "read_header",
    "received_field",
]

MAX_HEADER: Final = 256 * 1024  # octets kept for reading; a longer section is cut here
_PIECE: Final = 4096  # octets of a message read at a time: most sections are shorter
_MAX_COMMENT: Final = 700  # octets of a peer's name in Received, whose lines end at 998


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """`from_domains`: domains of From and Sender in lower case; `received`: count of Received.

    `UNREADABLE` stands among the domains for an author that cannot be told, for example in a
    message without From, which RFC 5322 §3.6 demands.  `fields` counts the header fields, malformed
    ones included.  `octets` is the size of the section as collected; `complete` says that nothing
    was cut.  `shown_domains` are further domains that a person may take for an author's: in a name,
    quoted, encoded or in a comment.  `message_id` is the first Message-ID as written (RFC 5322
    §3.6.4), empty without one.
    """

    from_domains: frozenset[str] = frozenset()
    received: int = 0
    fields: int = 0
    octets: int = 0
    complete: bool = True
    shown_domains: frozenset[str] = frozenset()
    message_id: bytes = b""


class HeaderCollector:
    """Gathers the header section from message octets as they stream by, up to `limit` octets."""

    def __init__(self, limit: int = MAX_HEADER) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._complete = False
        self._cut = False

    def feed(self, payload: bytes) -> None:
        """Take the next message octets; cheap once the section is complete."""
        for start in range(0, len(payload), _PIECE):
            if self._complete:
                return
            self._take(payload[start : start + _PIECE])

    def _take(self, payload: bytes) -> None:
        searched = max(len(self._buffer) - 3, 0)
        self._buffer += payload[: self._limit - len(self._buffer)]
        # An empty section: the message begins with a line end.
        empty = self._buffer.startswith(b"\r\n")
        end = -2 if empty else self._buffer.find(b"\r\n\r\n", searched)
        if end != -1:
            del self._buffer[end + 2 :]
            self._complete = True
        elif len(self._buffer) >= self._limit:
            self._complete = self._cut = True

    @property
    def done(self) -> bool:
        """Whether no more of the message is needed."""
        return self._complete

    @property
    def section(self) -> bytes:
        """The section as collected, without the empty line after it."""
        return bytes(self._buffer)

    def facts(self) -> HeaderFacts:
        """The facts of the section; if it was cut, an author may hide in the rest: UNREADABLE."""
        found = read_header(self.section)
        if self._cut:
            return replace(found, from_domains=found.from_domains | {UNREADABLE}, complete=False)
        return found


def read_header(section: bytes) -> HeaderFacts:
    """Read the facts of a header section (RFC 5322 §2.2); malformed fields count, no more."""
    unfolded = section.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    domains: set[str] = set()
    shown: set[str] = set()
    received = fields = 0
    has_author = False
    message_id = b""
    for line in filter(None, unfolded.split(b"\r\n")):
        fields += 1
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        kind = name.strip().lower()
        if kind in {b"from", b"sender"}:
            has_author = has_author or kind == b"from"
            found, named = author_domains(value.decode("utf-8", "replace"))
            domains |= found
            shown |= named
        elif kind == b"received":
            received += 1
        elif kind == b"message-id":
            message_id = message_id or value.strip()
    if not has_author:
        domains.add(UNREADABLE)
    return HeaderFacts(
        frozenset(domains),
        received,
        fields,
        len(section),
        shown_domains=frozenset(shown - domains),
        message_id=message_id,
    )


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """The contents of the Received field of one accepted message."""

    helo: str
    address: str
    hostname: str
    protocol: str
    message: str
    session: str
    at: datetime
    tls_version: str = ""
    cipher: str = ""
    peer: str = ""


def received_field(facts: TraceFacts) -> bytes:
    """Our trace field (RFC 5321 §4.4, with the tls clause of RFC 8314 §7.4): ASCII with CRLF."""
    literal = f"IPv6:{facts.address}" if ":" in facts.address else facts.address
    lines = [f"Received: from {_comment_free(facts.helo)} ([{literal}])"]
    lines.append(f" by {facts.hostname} with {facts.protocol} id {facts.message}")
    if facts.cipher:
        lines.append(f" tls {facts.cipher}")
        lines.append(
            f" ({facts.tls_version}; peer {_comment(facts.peer)}; session {facts.session});"
        )
    else:
        lines.append(f" (session {facts.session});")
    lines.append(f" {_date(facts.at.replace(microsecond=0))}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


@lru_cache(16)  # one for each second
def _date(at: datetime) -> str:
    return format_datetime(at)


@lru_cache(256)  # few peers send most mail
def _comment_free(word: str) -> str:
    """A peer-supplied word, reduced to the characters of a host name.

    Without a patient's identifier: the field is stored in clear.
    """
    return (
        "".join(c for c in mask(word) if c.isascii() and (c.isalnum() or c in "-._:[]"))[:255]
        or "unknown"
    )


@lru_cache(256)  # few peers send most mail
def _comment(text: str) -> str:
    """Text inside a comment (RFC 5322 §3.2.2): octets beyond ASCII as hex pairs of RFC 4514."""
    out: list[str] = []
    room = _MAX_COMMENT
    for char in text:
        if char in '()\\"':
            written = f"\\{char}"
        elif " " <= char <= "~":
            written = char
        else:
            written = "".join(rf"\\{octet:02X}" for octet in char.encode())
        room -= len(written)
        if room < 0:
            return "".join((*out, "..."))
        out.append(written)
    return "".join(out)
