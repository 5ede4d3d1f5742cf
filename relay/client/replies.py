r"""Replies of a peer, read within limits (RFC 5321 §4.2, §4.5.3.1.5).

Sans-IO: octets in, replies out in order, as pipelining needs (RFC 2920 §3.1).  Malformed text
raises MalformedReply: `int()` would accept ` 55`, `+55` and `2_5` as codes, and such a code must
never decide the outcome of a recipient.
A malformed reply of a clear class is accepted (RFC 5321 §4.2.1: the first digit decides): lines
with several codes of one class, where the last code counts; a tab after the code; blank lines,
which mean nothing.  Lines of several classes contradict each other: MalformedReply.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_LINE: Final = 4096  # octets; RFC 5321 §4.5.3.1.5 asks for 512
MAX_LINES: Final = 100  # lines of a reply
MAX_TEXT: Final = 500  # characters kept of a reply

_ENHANCED: Final = re.compile(r"[245]\.([0-9]{1,3}\.[0-9]{1,3})(?: |$)")  # RFC 2034 §4
_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ \t-])(.*))?", re.DOTALL)


class MalformedReply(Exception):
    """Text of the peer that is no reply, or a reply without end."""


@dataclass(frozen=True, slots=True)
class PeerReply:
    """A reply: code, and text of all lines as one line, without control characters."""

    code: int
    text: str = ""

    @property
    def positive(self) -> bool:
        """Whether the command succeeded (2yz)."""
        return 200 <= self.code < 300

    @property
    def intermediate(self) -> bool:
        """Whether the peer waits for the message: 354, or another 3yz, to DATA."""
        return 300 <= self.code < 400

    @property
    def refusal(self) -> bool:
        """Whether the command was refused, for now or for good (4yz, 5yz)."""
        return self.code >= 400

    @property
    def too_many_recipients(self) -> bool:
        """Whether a recipient is refused, perhaps, only because of the number of recipients.

        RFC 5321 §4.5.3.1.10: 452, or 552 as in RFC 821.  With another enhanced code than X.5.3 (RFC
        3463 §3.6) these mean a full mailbox or disk.
        """
        enhanced = _ENHANCED.match(self.text)
        return self.code in {452, 552} and (enhanced is None or enhanced[1] == "5.3")

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()[:MAX_TEXT]


def shown(text: str) -> str:
    """Return a peer's text on one line, safe for a log: `?` replaces control characters."""
    line = " ".join(text.split())[:MAX_TEXT]
    return "".join(char if char.isprintable() else "?" for char in line)


class ReplyReader:
    """Parser of replies: octets in, whole replies out."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lines: list[str] = []
        self._code = b""
        self._blank = 0  # blank lines before or in the next reply

    @property
    def pending(self) -> int:
        """Number of octets received and not parsed."""
        return len(self._data)

    @property
    def empty(self) -> bool:
        """Whether no octets are left after the last reply, blank lines aside."""
        return not self._lines and not self._data.strip(b"\r\n")

    def feed(self, octets: bytes) -> None:
        """Add octets from the peer."""
        self._data += octets

    def take(self) -> PeerReply | None:
        """Return the next whole reply, or None.  Raises MalformedReply."""
        while (end := self._data.find(b"\n", 0, MAX_LINE + 1)) >= 0:
            line = bytes(self._data[:end]).removesuffix(b"\r")
            del self._data[: end + 1]
            if not line:
                self._blank += 1
                if self._blank >= MAX_LINES:
                    raise MalformedReply(f"over {MAX_LINES} blank lines")
            elif self._is_last(line):
                reply = PeerReply(int(self._code), shown(" ".join(self._lines)))
                self._lines, self._code, self._blank = [], b"", 0
                return reply
        if len(self._data) > MAX_LINE:
            raise MalformedReply(f"a reply with a line over {MAX_LINE} octets")
        return None

    def _is_last(self, line: bytes) -> bool:
        match = _LINE.fullmatch(line)
        if match is None:
            said = shown(line[:100].decode("utf-8", "replace"))
            raise MalformedReply(f"not a reply: {said!r}")
        code, mark, text = match.groups(default=b"")
        if self._lines and code[:1] != self._code[:1]:
            raise MalformedReply(f"a reply of two classes, {int(self._code)} and {int(code)}")
        self._code = code
        self._lines.append(text.decode("utf-8", "replace"))
        if mark == b"-" and len(self._lines) >= MAX_LINES:
            raise MalformedReply(f"a reply of over {MAX_LINES} lines")
        return mark != b"-"
