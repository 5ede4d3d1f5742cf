"""The header section of a message: the few facts that admission needs, and our own trace field.

Pure and bounded.  The message is never parsed as MIME on its way through (DESIGN §2): only the
octets up to the first empty line are looked at, and at most `MAX_HEADER` of them.
"""

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, getaddresses
from typing import Final

MAX_HEADER: Final = 256 * 1024  # octets kept for reading; a longer section is read up to here


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """`from_domains`: domains of From and Sender in lower case; `received`: count of Received."""

    from_domains: frozenset[str] = frozenset()
    received: int = 0


class HeaderCollector:
    """Gathers the header section from message octets as they stream by."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._complete = False

    def feed(self, payload: bytes) -> None:
        """Take the next message octets; cheap once the section is complete."""
        if self._complete:
            return
        searched = max(len(self._buffer) - 3, 0)
        self._buffer += payload[: MAX_HEADER - len(self._buffer)]
        end = 0 if self._buffer.startswith(b"\r\n") else self._buffer.find(b"\r\n\r\n", searched)
        if end >= 0:
            del self._buffer[end + 2 :]
            self._complete = True
        elif len(self._buffer) >= MAX_HEADER:
            self._complete = True

    def facts(self) -> HeaderFacts:
        """What the collected section says."""
        return read_header(bytes(self._buffer))


def read_header(section: bytes) -> HeaderFacts:
    """Read the facts from a header section (RFC 5322 §2.2); malformed fields are passed over."""
    unfolded = section.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    authors: list[str] = []
    received = 0
    for line in unfolded.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        match name.strip().lower():
            case b"from" | b"sender":
                authors.append(value.decode("utf-8", "replace").strip())
            case b"received":
                received += 1
    domains = frozenset(
        address.rpartition("@")[2].lower() for _, address in getaddresses(authors) if "@" in address
    )
    return HeaderFacts(domains, received)


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What the Received field records of one accepted message."""

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
    """Our trace field (RFC 5321 §4.4, with the tls clause of RFC 8314 §7.4), CRLF-ended ASCII."""
    lines = [f"Received: from {_comment_free(facts.helo)} ([{facts.address}])"]
    lines.append(f" by {facts.hostname} with {facts.protocol} id {facts.message}")
    if facts.cipher:
        lines.append(f" tls {facts.cipher}")
        lines.append(
            f" ({facts.tls_version}; peer {_comment(facts.peer)}; session {facts.session});"
        )
    else:
        lines.append(f" (session {facts.session});")
    lines.append(f" {format_datetime(facts.at)}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _comment_free(word: str) -> str:
    """A peer-supplied word with everything but the characters of a host name taken out."""
    return (
        "".join(c for c in word if c.isascii() and (c.isalnum() or c in "-._:[]"))[:255]
        or "unknown"
    )


def _comment(text: str) -> str:
    """Text inside a comment (RFC 5322 §3.2.2): octets beyond ASCII as hex pairs of RFC 4514."""
    out: list[str] = []
    for char in text:
        if char in '()\\"':
            out.append(f"\\{char}")
        elif " " <= char <= "~":
            out.append(char)
        else:
            out.extend(rf"\\{octet:02X}" for octet in char.encode())
    return "".join(out)
