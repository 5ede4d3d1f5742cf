"""A transcript of one session for the journal: what both sides said, never what a message holds.

Kept only where an operator asked for a peer's (`mssante serve --debug-peer DN`).  Until TLS has
shown who the peer is, lines wait here, bounded, and are forgotten if it is somebody else.
"""

from typing import Final

from foundation.privacy import mask
from relay.smtp.reply import ascii_text

_MAX_LINES: Final = 200  # lines that wait; older ones give way
_MAX_LINE: Final = 600


class Transcript:
    """Lines of one session, each opened by `C:`, `S:` or `--`."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._dropped = 0

    def client(self, line: bytes) -> None:
        """A command as it came."""
        self._add("C: ", line.decode("utf-8", "surrogateescape"))

    def server(self, octets: bytes) -> None:
        """One reply or more, with their line ends."""
        for line in octets.decode("ascii", "replace").splitlines():
            self._add("S: ", line)

    def remark(self, text: str) -> None:
        """Something that happened: TLS, octets that are not shown."""
        self._add("-- ", text)

    def take(self) -> list[str]:
        """The lines so far, in order; they are forgotten here."""
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.insert(0, f"-- {self._dropped} earlier lines are lost")
            self._dropped = 0
        return lines

    @property
    def full(self) -> bool:
        """Whether it is time to take the lines."""
        return len(self._lines) >= _MAX_LINES // 10

    def _add(self, opening: str, text: str) -> None:
        if len(self._lines) >= _MAX_LINES:
            self._dropped += 1
            self._lines.pop(0)
        # Masked before it is cut: without its domain, nobody would know a patient's address.
        self._lines.append(opening + ascii_text(mask(text))[:_MAX_LINE])
