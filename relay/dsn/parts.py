"""Parts of a DSN, to the octet: lines, quoting, fields, returned original.

Pure.  Text supplied by a peer is never copied unchecked: addresses and parameters are parsed again,
other text is encoded.  So no line of a peer can look like a line of ours.
"""

import itertools
import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from relay.dsn.model import ReportedRecipient, ReportFacts
from relay.smtp.address import SmtpAddress
from relay.smtp.line_checker import MAX_TEXT_LINE, LineChecker
from relay.smtp.parameters import DsnReturn, ascii_form, decode_orcpt, decode_xtext
from relay.smtp.reply import ascii_text

_MAX_SECTION: Final = 64 * 1024  # octets of the original header section
_MAX_DIAGNOSTIC: Final = 800
_QUOTED_LINE: Final = 76  # octets of a line in quoted-printable, RFC 2045 §6.7 rule 5
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}")
_REPLY: Final = re.compile(r"[2-5][0-9][0-9](?![0-9])")


def shown(text: str) -> str:
    """Return a peer's text as printable ASCII, cut to fit on a line."""
    return ascii_text(text)[:_MAX_DIAGNOSTIC]


def words_part(words: str) -> bytes:
    """Return the human part (RFC 6522 §3)."""
    header = [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
    ]
    return joined(header) + b"\r\n" + quoted_printable(words.encode())


def status_part(facts: ReportFacts, addresses: Sequence[SmtpAddress]) -> bytes:
    """Return the part for programs (RFC 3464 §2.1): message fields, then recipient fields."""
    fields = ["Content-Type: message/delivery-status", ""]
    if facts.envid is not None:
        fields.append(f"Original-Envelope-Id: {decode_xtext(facts.envid)}")
    fields.append(f"Reporting-MTA: dns; {facts.hostname}")
    fields.append(f"Arrival-Date: {format_datetime(facts.arrival)}")
    for address, recipient in zip(addresses, facts.recipients, strict=True):
        fields += ["", *_of_recipient(address, recipient)]
    return joined(fields)


def _of_recipient(address: SmtpAddress, recipient: ReportedRecipient) -> list[str]:
    """Fields of one recipient, in the order of RFC 3464 §2.3."""
    fields = []
    if recipient.orcpt is not None:
        fields.append(f"Original-Recipient: {decode_orcpt(recipient.orcpt)}")
    fields.append(f"Final-Recipient: {_typed(str(address))}")
    fields.append(f"Action: {recipient.action}")
    fields.append(f"Status: {recipient.status}")
    if _HOST.fullmatch(recipient.remote):
        fields.append(f"Remote-MTA: dns; {recipient.remote}")
    if recipient.diagnostic:
        # Only a reply has the type smtp (RFC 3464 §2.3.6); our own errors have a type of ours.
        kind = "smtp" if _REPLY.match(recipient.diagnostic) else "x-mssante"
        fields.append(f"Diagnostic-Code: {kind}; {shown(recipient.diagnostic)}")
    fields += _date("Last-Attempt-Date", recipient.last_attempt)
    return fields + _date("Will-Retry-Until", recipient.retry_until)


def _date(name: str, at: datetime | None) -> list[str]:
    return [] if at is None else [f"{name}: {format_datetime(at)}"]


def _typed(address: str) -> str:
    """Address with its type, in 7 bits (RFC 3464 §2.3.2, RFC 6533 §3)."""
    if address.isascii():
        return f"rfc822;{address}"
    for special in "\\+= ":
        address = address.replace(special, rf"\x{{{ord(special):02X}}}")
    return f"utf-8;{ascii_form(address)}"


def original_part(facts: ReportFacts) -> bytes:
    """Return the header section, or the head of a part whose content is the whole original."""
    if facts.returned is DsnReturn.FULL:
        return _whole(smtputf8=facts.smtputf8, eight_bit=facts.eight_bit)
    return _section(facts.headers, smtputf8=facts.smtputf8) if facts.headers else b""


def _whole(*, smtputf8: bool, eight_bit: bool) -> bytes:
    """Head of that part.  The original goes unencoded (RFC 2046 §5.2.1, RFC 6532 §3.7)."""
    kind = "message/global" if smtputf8 else "message/rfc822"
    encoding = "8bit" if smtputf8 or eight_bit else "7bit"
    return joined([f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}", ""])


def _section(headers: bytes, *, smtputf8: bool) -> bytes:
    """Part with the header section; of a longer section, the whole lines of its first 64 KiB.

    A section that is not legal 7-bit text is quoted-printable (RFC 6522 §4), or goes unchanged if
    the DSN may carry UTF-8 (RFC 6533 §4.3).
    """
    if len(headers) > _MAX_SECTION:
        headers = b"".join(headers[:_MAX_SECTION].rpartition(b"\r\n")[:2])
    lines = LineChecker()
    lines.check(headers)
    kind, encoding = "text/rfc822-headers", "7bit"
    if lines.violation is None and smtputf8 and not headers.isascii() and _is_utf8(headers):
        kind, encoding = "message/global-headers", "8bit"
    elif lines.violation is not None or not headers.isascii():
        encoding = "quoted-printable"
        headers = quoted_printable(headers)
    opening = [f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}", ""]
    return joined(opening) + headers


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def quoted_printable(text: bytes) -> bytes:
    """Encode lines in quoted-printable (RFC 2045 §6.7); only CRLF is a line end.

    Not by `binascii.b2a_qp`: it makes lines of 77 octets if a soft line end follows a quoted octet.
    """
    return b"\r\n".join(map(_quoted, text.split(b"\r\n")))


@lru_cache(256)  # most lines are the same in every DSN
def _quoted(line: bytes) -> bytes:
    """Quote a line, in pieces that leave room for the sign of a soft line end."""
    pieces = [b""]
    for index, octet in enumerate(line):
        blank = octet in b" \t" and index < len(line) - 1  # else lost at the line's end
        plain = blank or (0x21 <= octet <= 0x7E and octet != 0x3D)
        quoted = bytes((octet,)) if plain else b"=%02X" % octet
        if len(pieces[-1]) + len(quoted) > _QUOTED_LINE - 1:
            pieces.append(b"")
        pieces[-1] += quoted
    return b"=\r\n".join(pieces)


def boundary(message_id: str, parts: Sequence[bytes]) -> str:
    """Return a boundary that occurs in no part (RFC 2046 §5.1.1).

    It cannot occur in a message streamed after the parts either: the message is older than the id,
    and 74 bits of the id are random (RFC 9562 §5.7).
    """
    candidates = (f"{message_id}.{number}" for number in itertools.count())
    return next(
        candidate for candidate in candidates if not any(candidate.encode() in p for p in parts)
    )


def joined(lines: Sequence[str]) -> bytes:
    """Join lines with CRLF.  Raises ValueError if a line is too long or has control characters."""
    for line in lines:
        if len(line.encode()) > MAX_TEXT_LINE or any(c < " " or c == "\x7f" for c in line):
            raise ValueError("a line of a report is too long or has control characters")
    return "".join(f"{line}\r\n" for line in lines).encode()
