"""Check of the lines of a message against RFC 5321, octet by octet."""

from collections.abc import Iterable

from relay.smtp.line_checker import Violation


def first_violation(lines: Iterable[bytes]) -> Violation | None:
    """First fault in a text that was split at each CRLF."""
    for line in lines:
        for position, octet in enumerate(line, 1):
            if octet == 10:
                return Violation.BARE_LF
            if octet == 13:
                return Violation.BARE_CR
            if octet == 0:
                return Violation.NUL
            if position > 998:
                return Violation.LONG_LINE
    return None
