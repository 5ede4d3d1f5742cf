"""The message as a window that moves over its octets: lines found, line ends counted, samples kept.

Pure but for `read` of the file it is given.  Each octet is read once; in memory are a piece, a
header section, and the samples.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from mailstore.summaries.limits import MAX_HEADER

_PIECE: Final = 128 * 1024
_LINE: Final = 1100  # octets of a line that may be a delimiter: RFC 5322 §2.1.1 allows 998
_KEPT: Final = 4  # octets before a position that may belong to the line end of a delimiter
_NOWHERE: Final = (-1, -1)
# A line begins behind LF, or where a search of `finditer` may not look behind: its first position.
_DASHES: Final = re.compile(rb"(?:(?<=\n)|\A)--[^\n]*\n?")


class Dashes(NamedTuple):
    """A line that begins with `--`: its octets without line end, its begin and its end."""

    text: bytes
    begin: int
    end: int


class Window:
    """Octets from `base` on are in `octets`; positions count from the message's begin."""

    __slots__ = (
        "_base",
        "_blank",
        "_body",
        "_counted",
        "_ended",
        "_line_ends",
        "_octets",
        "_searched",
        "position",
    )

    def __init__(self, body: BinaryIO, trace: bytes) -> None:
        self._body = body
        self._octets = trace
        self._base = 0
        self._ended = False
        self._counted = self._line_ends = 0
        # The empty line found last, and where the search for the next goes on.
        self._blank, self._searched = _NOWHERE, 0
        self.position = 0
        """The next octet to look at; those before it may be forgotten."""

    @property
    def read(self) -> int:
        """Octets read so far, the trace included."""
        return self._base + len(self._octets)

    def exhaust(self) -> int:
        """Read the rest without looking at it; return the size of the message."""
        while not self._ended:
            self.position = self.read
            self._fill()
        return self.read

    def _fill(self) -> bool:
        """Read another piece; octets before `position` go.  False at the end."""
        if self._ended:
            return False
        piece = self._body.read(_PIECE)
        self._ended = not piece
        if piece:
            keep = max(self.position - self._base - _KEPT, 0)
            self.lines_to(self._base + keep)
            self._octets = self._octets[keep:] + piece
            self._base += keep
        return bool(piece)

    def lines_to(self, position: int) -> int:
        """Return the number of line ends before a position, which never goes back."""
        if position > self._counted:
            begin, end = self._counted - self._base, position - self._base
            self._line_ends += self._octets.count(b"\n", begin, end)
            self._counted = position
        return self._line_ends

    def slice(self, begin: int, end: int) -> bytes:
        """Return octets that are still in the window."""
        return self._octets[max(begin - self._base, 0) : end - self._base]

    def header_end(self) -> tuple[int, int]:
        """Return where the header section at `position` ends, and where its content begins.

        The same position twice: no empty line ends the section before the message's end, or within
        `MAX_HEADER`.
        """
        begin = self.position
        if self._blank[0] < begin:
            self._searched = max(self._searched, begin)
            self._blank = _NOWHERE
        while self._blank[0] < begin:
            at = begin - self._base
            for empty in (b"\r\n", b"\n"):
                if self._octets.startswith(empty, at):
                    return begin, begin + len(empty)
            self._blank = self._blank_line(max(begin, self._searched - _KEPT))
            found = self._blank[0] >= begin
            self._searched = self._blank[1] if found else self.read
            if not found and (self.read - begin > MAX_HEADER or not self._fill()):
                return self.read, self.read
        return self._blank

    def _blank_line(self, searched: int) -> tuple[int, int]:
        start = searched - self._base
        strict = self._octets.find(b"\n\r\n", start)
        # A bare LF matters before the strict end alone.
        bare = self._octets.find(b"\n\n", start, strict + 1 if strict >= 0 else None)
        if bare >= 0:
            return self._base + bare + 1, self._base + bare + 2
        return (self._base + strict + 1, self._base + strict + 3) if strict >= 0 else _NOWHERE

    def dashes(self, begin: int, end: int) -> Iterator[Dashes]:
        """Lines that begin with `--` between two positions, which are in the window."""
        for found in _DASHES.finditer(self._octets, begin - self._base, end - self._base):
            yield Dashes(found[0], self._base + found.start(), self._base + found.end())

    def next_dashes(self, sample: "Sample | None") -> Dashes | None:
        """Return the next line from `position` on that begins with `--`, and stand behind it.

        None at the message's end.  The octets passed go to the sample.
        """
        while True:
            hit = self._octets.find(b"\n--", max(self.position - self._base - 1, 0))
            if hit >= 0:
                return self._line(self._base + hit + 1, sample)
            begin, end = self.position, max(self.position, self.read - 2)
            if sample is not None:
                sample.take(self, begin, end)
            self.position = end
            if not self._fill():
                if sample is not None:
                    sample.take(self, end, self.read)
                self.position = self.read
                return None

    def _line(self, begin: int, sample: "Sample | None") -> Dashes:
        if sample is not None:
            sample.take(self, self.position, begin)
        self.position = begin
        end = self._line_end(begin)
        while end is None and self.read - begin < _LINE and self._fill():
            end = self._line_end(begin)
        # A longer line is no delimiter: its octets may be cut anywhere.
        stop = min(begin + _LINE, self.read) if end is None else end
        text = self._octets[begin - self._base : stop - self._base]
        self.position = stop
        return Dashes(text, begin, stop)

    def _line_end(self, begin: int) -> int | None:
        found = self._octets.find(b"\n", begin - self._base, begin - self._base + _LINE)
        return None if found < 0 else self._base + found + 1

    def content_end(self, begin: int) -> int:
        """Return where content ends before the delimiter line at `begin`: its line end goes."""
        at = begin - self._base
        if self._octets.endswith(b"\r\n", 0, at):
            return begin - 2
        return begin - 1 if self._octets.endswith(b"\n", 0, at) else begin


class Sample:
    """The first octets of a content, at most `limit`."""

    __slots__ = ("_limit", "_pieces", "_room")

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._pieces: list[bytes] = []

    def take(self, window: Window, begin: int, end: int) -> None:
        """Take octets of the window that follow those before, as far as there is room."""
        if self._room > 0 and end > begin:
            piece = window.slice(begin, min(end, begin + self._room))
            self._pieces.append(piece)
            self._room -= len(piece)

    def octets(self) -> bytes:
        """Return the octets taken."""
        return b"".join(self._pieces)
