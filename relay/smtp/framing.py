r"""Framing of message data: the end of DATA found, dots undone and done, faults named.

Sans-IO: bytes in, `Framed(payload, ended, rest)` out, and the first violation remembered.  Work is
linear in the bytes fed however they are cut, and every search runs at C speed over large chunks.
The content of BDAT (RFC 3030) has its length announced and no dots; the same faults are its faults.
Only `CRLF.CRLF` ends a message (RFC 5321 §4.1.1.4); a bare CR, a bare LF, a NUL or a line over
998 octets makes the message refusable but never ends it, which is what keeps smuggled commands
inside the body of the message that carries them (RFC 5321 §2.3.8, CVE-2023-51764).
"""

from dataclasses import dataclass
from typing import Final

from relay.smtp.line_checker import LineChecker, Violation

_END: Final = b"\r\n.\r\n"
_DOT: Final = _END[:3]


@dataclass(frozen=True, slots=True)
class Framed:
    """One step: message octets free of dot-stuffing, whether the end was met, what follows it."""

    payload: bytes
    ended: bool
    rest: bytes


class DataDecoder:
    """Reads the octets after `354` up to and including `CRLF.CRLF`."""

    def __init__(self) -> None:
        # The data starts at the beginning of a line: an imagined CRLF before it lets `.CRLF` as the
        # very first line end the message by the same search.
        self._held = b"\r\n"
        self._imagined = 2
        self._lines = LineChecker()

    @property
    def violation(self) -> Violation | None:
        """The first fault met so far."""
        return self._lines.violation

    def feed(self, chunk: bytes) -> Framed:
        """Take the next octets from the wire.  Not to be called again once `ended`."""
        data = self._held + chunk
        # Without a dot that begins a line there is no end, and most of what comes has none but that
        # of its own end: an attachment's lines have no dots, which a search for the last one sees
        # at once.
        size = len(data) - len(_END) if data.endswith(_END) else len(data)
        last = data.rfind(b".", 0, size)
        dot = data.find(_DOT, 0, last + 1) if last >= 0 else -1
        end = data.find(_END, dot) if dot >= 0 else -1
        if end < 0 and size < len(data):
            end = size
        if end >= 0:
            body, rest = data[: end + 2], data[end + len(_END) :]
        else:
            keep = _partial_end(data)
            body, rest = data[: len(data) - keep], b""
            self._held = data[len(data) - keep :]
        if dot >= 0:
            body = body.replace(_DOT, b"\r\n")
        if self._imagined and len(body) >= self._imagined:
            # Only now: with the imagined CRLF gone before, a leading dot would have stayed.
            body, self._imagined = body[self._imagined :], 0
        self._lines.check(body)
        return Framed(body, end >= 0, rest)


def _partial_end(data: bytes) -> int:
    """How many octets at the end of `data` could be the beginning of the end of the message."""
    for size in range(min(len(_END) - 1, len(data)), 0, -1):
        if data.endswith(_END[:size]):
            return size
    return 0


class ChunkChecker:
    """Checks the octets of BDAT, whose chunks may split a CRLF (RFC 3030 §2)."""

    def __init__(self) -> None:
        self._held = b""
        self._lines = LineChecker()

    @property
    def violation(self) -> Violation | None:
        """The first fault met so far."""
        return self._lines.violation

    def feed(self, octets: bytes) -> bytes:
        """Take the next octets of the message; a CR at their end is held back for its LF."""
        data = self._held + octets if self._held else octets
        self._held = b"\r" if data.endswith(b"\r") else b""
        return self._checked(data[:-1] if self._held else data)

    def finish(self) -> bytes:
        """What was held back at the end of the message: nothing, or a bare CR."""
        held, self._held = self._held, b""
        return self._checked(held)

    def _checked(self, piece: bytes) -> bytes:
        self._lines.check(piece)
        return piece


class DotStuffer:
    """Prepares stored octets for DATA: dots doubled, whatever the cutting (RFC 5321 §4.5.2)."""

    def __init__(self) -> None:
        self._held = b"\r\n"
        self._imagined = 2

    def feed(self, chunk: bytes) -> bytes:
        """Stuff the next octets; up to three octets are held back until more is known."""
        data = self._held + chunk
        keep = next((n for n in (2, 1) if data.endswith(b"\r\n"[:n])), 0)
        out, self._held = data[: len(data) - keep], data[len(data) - keep :]
        # An attachment's lines have no dots, which is seen at once.
        return self._without_imagined(out.replace(b"\r\n.", b"\r\n..") if b"." in out else out)

    def finish(self) -> bytes:
        """The rest, with the line end that the terminating dot needs before it."""
        out = self._held if self._held.endswith(b"\r\n") else self._held + b"\r\n"
        self._held = b""
        return self._without_imagined(out)

    def _without_imagined(self, out: bytes) -> bytes:
        skipped = min(self._imagined, len(out))
        self._imagined -= skipped
        return out[skipped:]
