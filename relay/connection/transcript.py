"""A transcript of a session for the journal: commands and replies, never a message's content.

Kept only on request for a peer (`mssante serve --debug-peer DN`).  Until TLS shows the peer's name,
lines wait here, bounded, and are dropped if it is another peer.
"""

from typing import Final

from foundation.privacy import mask
from relay.smtp.reply import ascii_text

_MAX_LINES: Final = 200  # waiting lines; the oldest are dropped
_MAX_LINE: Final = 600


class Transcript:
    """Lines of a session, each prefixed by `C:`, `S:` or `--`."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._dropped = 0

    def client(self, line: bytes) -> None:
        """Add a command as it came."""
        self._add("C: ", line.decode("utf-8", "surrogateescape"))

    def server(self, octets: bytes) -> None:
        """Add replies with their line ends."""
        for line in octets.decode("ascii", "replace").splitlines():
            self._add("S: ", line)

    def remark(self, text: str) -> None:
        """Add a remark: TLS, or octets that are not shown."""
        self._add("-- ", text)

    def take(self) -> list[str]:
        """The lines so far, in order; they are removed here."""
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.insert(0, f"-- {self._dropped} earlier lines are lost")
            self._dropped = 0
        return lines

    @property
    def full(self) -> bool:
        """Whether it is time for `take`."""
        return len(self._lines) >= _MAX_LINES // 10

    def _add(self, opening: str, text: str) -> None:
        if len(self._lines) >= _MAX_LINES:
            self._dropped += 1
            self._lines.pop(0)
        # Masked before the cut: a patient's address is recognised by its domain.
        self._lines.append(opening + ascii_text(mask(text))[:_MAX_LINE])
