"""Checks the octets of a message: the line ends and lengths that RFC 5321 allows, and no NUL.

Pure.  Most of a large message is base64 with lines of equal length.  There, line ends are checked
by stepping from each to the next in C, and the rest is only searched for stray CR, LF and NUL.
This costs a fifth of a search for line ends that may be anywhere.
"""

import io
import re
from enum import StrEnum
from typing import Final

MAX_TEXT_LINE: Final = 998  # octets without CRLF, RFC 5321 §4.5.3.1.6

_STRAY: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_CLEAN: Final = (None, "\r\n")  # the allowed kinds of line ends
_WORTH: Final = 4096  # octets: below this, looking for lines of equal length does not pay


class Violation(StrEnum):
    """Why message data cannot be accepted; the value is public text."""

    BARE_CR = "a bare CR (RFC 5321 section 2.3.8)"
    BARE_LF = "a bare LF (RFC 5321 section 2.3.8)"
    NUL = "a NUL octet (RFC 5321 section 4.5.2)"
    LONG_LINE = "a line over 998 octets (RFC 5321 section 4.5.3.1.6)"


_OF_STRAY: Final = {b"\r": Violation.BARE_CR, b"\n": Violation.BARE_LF, b"\0": Violation.NUL}


class LineChecker:
    """Checks the octets of a message for violations, in pieces that never split a CRLF."""

    def __init__(self) -> None:
        self.violation: Violation | None = None
        self._open_line = 0  # octets since the last line end
        # Tells the kinds of line ends in one pass, four times faster than counting them.
        self._ends = io.IncrementalNewlineDecoder(None, translate=False)

    def check(self, piece: bytes) -> None:
        """Check the next piece; the first violation is kept, however the pieces are cut."""
        if self.violation is not None:
            return
        start, end = even_lines(piece) if len(piece) >= _WORTH else (0, 0)
        # The parts before and after the even lines each begin at a line's start.
        self._check(piece[:start])
        self._check(piece[end:])

    def _check(self, piece: bytes) -> None:
        if self.violation is not None or not piece:
            return
        self._ends.decode(piece.decode("latin-1"), final=True)
        stray = None
        if self._ends.newlines not in _CLEAN or b"\0" in piece:
            stray = _STRAY.search(piece)
        if self._has_long_line(piece if stray is None else piece[: stray.start()]):
            self.violation = Violation.LONG_LINE
        elif stray is not None:
            self.violation = _OF_STRAY[stray[0]]

    def _has_long_line(self, piece: bytes) -> bool:
        # Jumps from the last line end within reach to the next: a stretch of 1000 octets without a
        # line end is a line too long.  About one search per kilobyte instead of one per line.
        start = -self._open_line  # where the current line began, before the piece if negative
        size = len(piece)
        while size - start > MAX_TEXT_LINE:
            found = piece.rfind(b"\n", max(start, 0), start + MAX_TEXT_LINE + 2)
            if found < 0:
                return True
            start = found + 1
        found = piece.rfind(b"\n", max(start, 0))
        self._open_line = size - (found + 1) if found >= 0 else size - start
        return False


def even_lines(piece: bytes) -> tuple[int, int]:
    """The range of whole lines around the middle that all have equal length and no fault.

    The range begins after a line end.  An empty range says nothing about the piece.
    """
    middle = piece.find(b"\n", len(piece) // 2)
    length = piece.find(b"\n", middle + 1) - middle
    if middle < 0 or not len(b"\r\n") <= length <= MAX_TEXT_LINE + len(b"\r\n"):
        return 0, 0
    start = middle + 1 - (_leading_ends(piece[middle::-length]) - 1) * length
    lines = _leading_ends(piece[start + length - 1 :: length])
    if lines * length < _WORTH:
        return 0, 0
    end = start + lines * length
    rest = bytearray(piece[start:end])
    if rest[length - 2 :: length] != b"\r" * lines:
        return 0, 0
    rest[length - 2 :: length] = rest[length - 1 :: length] = b" " * lines
    return (0, 0) if b"\r" in rest or b"\n" in rest or b"\0" in rest else (start, end)


def _leading_ends(octets: bytes) -> int:
    return len(octets) - len(octets.lstrip(b"\n"))
