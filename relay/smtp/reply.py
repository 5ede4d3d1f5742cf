"""Replies on the wire: lines of ASCII, never over 512 octets, with the facts that a peer needs.

RFC 5321 §4.5.3.1.5 limits the line, RFC 6531 §3.7.4 keeps it ASCII.  A refusal names the rule, the
value that the peer presented, and the session, under which `mssante trace` finds the rest.
"""

from dataclasses import dataclass
from typing import Final

_MAX_LINE: Final = 512  # octets with CRLF, RFC 5321 §4.5.3.1.5


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply: three-digit code, enhanced status code (RFC 3463) and one line of text.

    Replies to EHLO, DATA and a new connection have no enhanced code.  The reply to EHLO has a line
    of text for each extension.
    """

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        if not self.enhanced:
            return f"{self.code} {self.text}"
        return f"{self.code} {self.enhanced} {self.text}"

    @property
    def permanent(self) -> bool:
        """Whether the peer must not try again (RFC 5321 §4.2.1)."""
        return self.code >= 500


class Acknowledged(Reply):
    """The acceptance of a message: sent at once, whatever else is pipelined."""

    __slots__ = ()


class Goodbye(Reply):
    """The last reply of a session; the connection is closed after it."""

    __slots__ = ()


def ascii_text(text: str) -> str:
    """Text with all but printable ASCII as hex pairs after a backslash (RFC 4514 §2.4)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if " " <= char <= "~"
        else "".join(rf"\{octet:02X}" for octet in char.encode("utf-8", "surrogateescape"))
        for char in text
    )


def reply_lines(reply: Reply) -> bytes:
    """The octets of a reply that is no refusal, with all its lines (RFC 5321 §4.2.1)."""
    said = str(reply)
    if "\n" in said:
        first, *between, last = said.split("\n")
        code = str(reply.code)
        lines = [f"{code}-{first[4:]}", *(f"{code}-{line}" for line in between), f"{code} {last}"]
        said = "\r\n".join(lines)
    return f"{said}\r\n".encode("ascii", "replace")


def refusal_line(reply: Reply, session: str, rule: str = "", presented: str = "") -> bytes:
    """The line of a refusal; the presented value is cut where it does not fit."""
    tail = f" [session {session}]"
    said = ascii_text(str(reply))
    if rule:
        opening = f" (rule {rule}"
        room = _MAX_LINE - 2 - len(said) - len(tail) - len(opening) - len("; presented )")
        shown = ascii_text(presented)
        if len(shown) > room:
            shown = shown[: max(room - 3, 0)] + "..."
        said += f"{opening}; presented {shown})" if shown else f"{opening})"
    return f"{said[: _MAX_LINE - 2 - len(tail)]}{tail}\r\n".encode("ascii")
