r"""Framing of message data: finds the end of DATA, undoes and does dot-stuffing, names faults.

Sans-IO: bytes in, `FramedData(payload, ended, rest)` out; the first violation is kept.  Work is
linear in the bytes fed, however they are cut, and every search runs at C speed over large chunks.
BDAT content (RFC 3030) has its length announced and no dot-stuffing; the same faults are checked.
Only `CRLF.CRLF` ends a message (RFC 5321 §4.1.1.4).  A bare CR, a bare LF, a NUL or a line over 998
octets makes the message refusable but never ends it, so smuggled commands stay inside the body of
the message that carries them (RFC 5321 §2.3.8, CVE-2023-51764).
"""

from dataclasses import dataclass
from typing import Final

from relay.smtp.line_checker import LineChecker, Violation

_END: Final = b"\r\n.\r\n"
_DOT: Final = _END[:3]


@dataclass(frozen=True, slots=True)
class FramedData:
    """One step: octets without dot-stuffing, whether the end was found, the octets after it."""

    payload: bytes
    ended: bool
    rest: bytes


class DataDecoder:
    """Reads the octets after `354` up to and including `CRLF.CRLF`."""

    def __init__(self) -> None:
        # The data begins at a line's start: an imagined CRLF before it lets the same search find a
        # `.CRLF` that is the very first line.
        self._held = b"\r\n"
        self._imagined = 2
        self._lines = LineChecker()

    @property
    def violation(self) -> Violation | None:
        """The first fault met so far."""
        return self._lines.violation

    def feed(self, chunk: bytes) -> FramedData:
        """Take the next octets from the wire.  Never call it after `ended`."""
        data = self._held + chunk
        # A message ends only after a dot at a line's start.  Most chunks have no other dot than
        # that of their own end (base64 has none), and a search for the last dot tells so at once.
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
            # Only after the replacement: a leading dot needs the imagined CRLF before it.
            body, self._imagined = body[self._imagined :], 0
        self._lines.check(body)
        return FramedData(body, end >= 0, rest)


def _partial_end(data: bytes) -> int:
    """How many octets at the end of `data` could be the beginning of `CRLF.CRLF`."""
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
        """The octets held back at the end of the message: nothing, or a bare CR."""
        held, self._held = self._held, b""
        return self._checked(held)

    def _checked(self, piece: bytes) -> bytes:
        self._lines.check(piece)
        return piece


class DotStuffer:
    """Prepares stored octets for DATA: dots doubled, however they are cut (RFC 5321 §4.5.2)."""

    def __init__(self) -> None:
        self._held = b"\r\n"
        self._imagined = 2

    def feed(self, chunk: bytes) -> bytes:
        """Stuff the next octets; up to two octets are held back until the next call."""
        data = self._held + chunk
        keep = next((n for n in (2, 1) if data.endswith(b"\r\n"[:n])), 0)
        out, self._held = data[: len(data) - keep], data[len(data) - keep :]
        # Base64 lines have no dots, which one search tells.
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
