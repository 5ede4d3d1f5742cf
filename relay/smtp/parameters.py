r"""Parameters of MAIL, RCPT and BDAT (RFC 5321 §4.1.2), each known keyword checked by its own RFC.

Pure.  ENVID and ORCPT are kept verbatim, so that they reach DSNs and the next hop as they came
(RFC 3461 §4.2, §4.4); keywords are compared in upper case.  A keyword that EHLO does not offer is
refused with `555 5.5.4`: without that, its request would be lost silently.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relay.smtp.address import UTF8_NON_ASCII
from relay.smtp.errors import SyntaxRefused

_OF_MAIL: Final = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"})
_OF_RCPT: Final = frozenset({"NOTIFY", "ORCPT"})

_MAX_ENVID: Final = 100  # RFC 3461 §4.4
_MAX_ORCPT: Final = 500  # RFC 3461 §4.2

# The grammar sets no limit to a keyword; ours lets a reply that names it fit into 512 octets.
# RFC 6531 §3.3 adds UTF-8 to the values; only ORCPT has a use for it.
_PARAMETER: Final = re.compile(
    rf"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]{{0,63}})(?:=(?P<value>[!-<>-~{UTF8_NON_ASCII}]+))?"
)
_NUMBER: Final = re.compile(r"[0-9]{1,20}")  # RFC 1870 §4; RFC 3030 §2 sets no limit
_CHUNK: Final = re.compile(r"(?P<size>[0-9]{1,20})(?P<last> LAST)? *", re.IGNORECASE | re.ASCII)

# RFC 3461 §4, restricted to values that decode to printable US-ASCII.
_HEXCHAR: Final = re.compile(r"\+([2-6][0-9A-F]|7[0-9A-E])")
_XTEXT: Final = re.compile(rf"(?:[!-*,-<>-~]|{_HEXCHAR.pattern})*")
# RFC 822 §3.3
_ATOM: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+")
# QUCHAR and EmbeddedUnicodeChar of RFC 6533 §3, without control characters and line ends.
_UTF8_ADDRESS: Final = re.compile(
    rf"(?:[!-*,-<>-\[\]-~{UTF8_NON_ASCII}]|\\x\{{(?:20|2B|3D|5C|[A-F][0-9A-F]|[1-9A-F][0-9A-F]{{2}}"
    r"|(?!202[89]\})(?:[1-9A-CE-F][0-9A-F]|D[0-7])[0-9A-F]{2}|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})\})+"
)


class DsnReturn(StrEnum):
    """How much of the message a DSN of failure returns (RFC 3461 §4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class DsnNotify(StrEnum):
    """The events that the sender wants a DSN for (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class MailParameters:
    """The parameters of MAIL: size in octets or None, 8-bit body, UTF-8 addresses, DSN options.

    `envid` is the envelope's identifier in xtext, as it came.
    """

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    ret: DsnReturn | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """The parameters of RCPT: `notify`, None if absent; `orcpt` as it came, with its type."""

    notify: frozenset[DsnNotify] | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class BdatChunk:
    """The announcement of BDAT: how many octets follow, and whether the message ends with them."""

    size: int
    last: bool


def parse_mail_parameters(text: str) -> MailParameters:
    """Read SIZE (RFC 1870 §3), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531 §3.4), RET, ENVID (RFC 3461).

    Raises SyntaxRefused.  BINARYMIME (RFC 3030 §3) is not offered, since relaying by DATA needs
    lines; a parameter that cannot be honoured is 555 (RFC 5321 §4.1.1.11).
    """
    given = _split(text, "MAIL", _OF_MAIL)
    size, body, ret, envid = (given.get(word) for word in ("SIZE", "BODY", "RET", "ENVID"))
    if size is not None and not _NUMBER.fullmatch(size):
        raise SyntaxRefused("SIZE takes a number of octets")
    if body is not None and body.upper() == "BINARYMIME":
        raise SyntaxRefused("BODY=BINARYMIME not offered here", code=555)
    if body is not None and body.upper() not in {"7BIT", "8BITMIME"}:
        raise SyntaxRefused("BODY is 7BIT or 8BITMIME")
    if given.get("SMTPUTF8"):
        raise SyntaxRefused("SMTPUTF8 takes no value")
    if ret is not None and ret.upper() not in DsnReturn.__members__:
        raise SyntaxRefused("RET is FULL or HDRS")
    if envid is not None and not (0 < len(envid) <= _MAX_ENVID and _XTEXT.fullmatch(envid)):
        raise SyntaxRefused(f"ENVID takes xtext of at most {_MAX_ENVID} characters")
    return MailParameters(
        None if size is None else int(size),
        eight_bit=body is not None and body.upper() == "8BITMIME",
        smtputf8="SMTPUTF8" in given,
        ret=None if ret is None else DsnReturn(ret.upper()),
        envid=envid,
    )


def parse_rcpt_parameters(text: str) -> RcptParameters:
    """Read NOTIFY (RFC 3461 §4.1) and ORCPT (RFC 3461 §4.2, RFC 6533 §3).  Raises SyntaxRefused."""
    given = _split(text, "RCPT", _OF_RCPT)
    notify, orcpt = given.get("NOTIFY"), given.get("ORCPT")
    return RcptParameters(
        None if notify is None else _parse_notify(notify),
        None if orcpt is None else _checked_orcpt(orcpt),
    )


def _split(text: str, command: str, offered: frozenset[str]) -> dict[str, str]:
    """The value of each keyword, empty if it has none: the grammar knows no empty value."""
    given: dict[str, str] = {}
    for word in filter(None, text.split(" ")):  # blanks only: a CR or a tab separates nothing
        match = _PARAMETER.fullmatch(word)
        keyword = match["keyword"].upper() if match else ""
        if match is None or not (word.isascii() or keyword == "ORCPT"):
            raise SyntaxRefused(f"Malformed {command} parameter")
        if keyword not in offered:
            raise SyntaxRefused(f"{command} parameter {keyword} not offered here", code=555)
        if keyword in given:
            raise SyntaxRefused(f"{command} parameter {keyword} given twice")
        given[keyword] = match["value"] or ""
    return given


def _parse_notify(value: str) -> frozenset[DsnNotify]:
    words = value.upper().split(",")
    found = frozenset(DsnNotify(word) for word in words if word in DsnNotify.__members__)
    if len(found) != len(words) or (DsnNotify.NEVER in found and len(found) > 1):
        raise SyntaxRefused("NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY")
    return found


def _checked_orcpt(value: str) -> str:
    kind, separator, address = value.partition(";")
    grammar = _UTF8_ADDRESS if kind.lower() == "utf-8" else _XTEXT
    if not separator or not _ATOM.fullmatch(kind) or not grammar.fullmatch(address):
        raise SyntaxRefused("ORCPT takes a type of address, a semicolon, and xtext")
    # Measured in the 7-bit form, the only form for DSNs and for hosts without SMTPUTF8.
    if len(ascii_form(value)) > _MAX_ORCPT:
        raise SyntaxRefused(f"ORCPT takes at most {_MAX_ORCPT} characters")
    return value


def ascii_form(text: str) -> str:
    """An address of the type utf-8 in its 7-bit form, utf-8-addr-xtext (RFC 6533 §3)."""
    if text.isascii():
        return text
    return "".join(char if char.isascii() else rf"\x{{{ord(char):02X}}}" for char in text)


def decode_xtext(text: str) -> str:
    """Decode xtext (RFC 3461 §4) to printable US-ASCII.  Raises SyntaxRefused."""
    if not _XTEXT.fullmatch(text):
        raise SyntaxRefused("Not xtext")
    return _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text)


def encode_xtext(text: str) -> str:
    """Printable US-ASCII as xtext (RFC 3461 §4).  Raises SyntaxRefused for any other text."""
    if not all(" " <= char <= "~" for char in text):
        raise SyntaxRefused("Not printable US-ASCII")
    return "".join(f"+{ord(char):02X}" if char in " +=" else char for char in text)


def decode_orcpt(value: str) -> str:
    """ORCPT as a DSN writes it: its type, and the address in 7 bits (RFC 3464 §2.3.1).

    Raises SyntaxRefused.
    """
    kind, _, address = _checked_orcpt(value).partition(";")
    return ascii_form(value) if kind.lower() == "utf-8" else f"{kind};{decode_xtext(address)}"


def parse_bdat(argument: str | None) -> BdatChunk:
    """Read the argument of BDAT (RFC 3030 §2), `size [LAST]`.  Raises SyntaxRefused."""
    match = _CHUNK.fullmatch(argument or "")
    if match is None:
        raise SyntaxRefused("Syntax: BDAT size [LAST]")
    return BdatChunk(int(match["size"]), match["last"] is not None)
