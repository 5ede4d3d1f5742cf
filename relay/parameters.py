"""Parameters of MAIL and RCPT (RFC 5321 §4.1.2), each known keyword checked by its own RFC.

Pure.  Values are kept verbatim; keywords are compared in upper case.  What is not offered in EHLO
is refused with `555 5.5.4` instead of being lost silently.
"""

import re
from dataclasses import dataclass
from typing import Final

from relay.errors import SyntaxRefused

# The grammar sets no limit to a keyword; ours lets a reply that names it fit into 512 octets.
_PARAMETER: Final = re.compile(
    r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]{0,63})(?:=(?P<value>[!-<>-~]+))?"
)


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What MAIL declared: size in octets or None, 8-bit body, internationalised addresses."""

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False


def _split(text: str, command: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in filter(None, text.split(" ")):  # blanks only: a CR or a tab separates nothing
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise SyntaxRefused(f"Malformed {command} parameter")
        keyword = match["keyword"].upper()
        if keyword in found:
            raise SyntaxRefused(f"{command} parameter {keyword} given twice")
        found[keyword] = match["value"]
    return found


def _unknown(command: str, keyword: str) -> SyntaxRefused:
    return SyntaxRefused(f"{command} parameter {keyword} not offered here", code=555)


def parse_mail_parameters(text: str) -> MailParameters:
    """Read SIZE (RFC 1870 §3), BODY (RFC 6152 §2) and SMTPUTF8 (RFC 6531 §3.4).

    Raises SyntaxRefused.
    """
    size: int | None = None
    eight_bit = smtputf8 = False
    for keyword, value in _split(text, "MAIL").items():
        if keyword == "SIZE":
            if value is None or not value.isdigit() or len(value) > 20:
                raise SyntaxRefused("SIZE takes a number of octets")
            size = int(value)
        elif keyword == "BODY":
            if value is None or value.upper() not in {"7BIT", "8BITMIME"}:
                raise SyntaxRefused("BODY is 7BIT or 8BITMIME")
            eight_bit = value.upper() == "8BITMIME"
        elif keyword == "SMTPUTF8":
            if value is not None:
                raise SyntaxRefused("SMTPUTF8 takes no value")
            smtputf8 = True
        else:
            raise _unknown("MAIL", keyword)
    return MailParameters(size, eight_bit, smtputf8)


def parse_rcpt_parameters(text: str) -> None:
    """Refuse every RCPT parameter, since EHLO offers none yet.  Raises SyntaxRefused."""
    for keyword in _split(text, "RCPT"):
        raise _unknown("RCPT", keyword)
