r"""Delivery status notifications: what a sender hears of its message (RFC 3461 §5, §6, RFC 3464).

Pure.  A report of success is MSSanté's *accusé de réception* (DOMAIN §3.3).  It is a
multipart/report of three parts (RFC 6522): words in French and English, the status for programs,
and the header section of the message.  Nothing that a peer supplied stands in it unchecked: its
addresses and parameters are checked again, the rest is encoded, so that no line of it can pass for
one of ours.  Lines end with CRLF and have 998 octets at the most; a report is 7-bit unless the
message came with SMTPUTF8, without which one that is not cannot be sent.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from relay.address import POSTMASTER, Address, parse_address
from relay.framing import MAX_TEXT_LINE, LineChecker
from relay.parameters import ascii_form, decode_orcpt, decode_xtext
from relay.replies import ascii_text

DELIVERED_STATUS: Final = "2.1.5"  # the code for positive delivery reports, RFC 3463 §3.2

_MAX_SECTION: Final = 64 * 1024  # octets of the original header section
_MAX_DIAGNOSTIC: Final = 800
_QUOTED_LINE: Final = 76  # octets of a line in quoted-printable, RFC 2045 §6.7 rule 5
_SUBJECT: Final = Header("Accusé de réception / Delivery report", "utf-8").encode()


class Action(StrEnum):
    """What became of the message for one recipient (RFC 3464 §2.3.3)."""

    DELIVERED = "delivered"
    RELAYED = "relayed"


_FRENCH: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.DELIVERED: "Il a été remis dans la boîte aux lettres de :",
        Action.RELAYED: (
            "Il a été transmis à un serveur qui n'envoie pas d'accusé de réception, pour :"
        ),
    }
)
_ENGLISH: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.DELIVERED: "It was delivered to the mailbox of:",
        Action.RELAYED: "It was passed on to a server that sends no reports, for:",
    }
)


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One recipient: its address, what became of it, and the enhanced status code (RFC 3463).

    `orcpt` is as RCPT gave it; `diagnostic` is the reply of the server that decided, if another.
    """

    address: str
    action: Action
    status: str
    orcpt: str | None
    diagnostic: str = ""


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What a report tells.

    `hostname` is ours; `message_id` is our id of the report, which is what makes its boundary and
    its Message-ID; `to` the envelope sender of the message; `at` the time of the report and
    `arrival` that of the message, both aware; `envid` as MAIL gave it; `headers` the header section
    of the message; `smtputf8` whether it came with SMTPUTF8, and the report may be sent with it.
    """

    hostname: str
    message_id: str
    to: str
    at: datetime
    arrival: datetime
    envid: str | None
    recipients: tuple[ReportedRecipient, ...]
    headers: bytes
    smtputf8: bool = False


def build_report(facts: ReportFacts) -> bytes:
    """The report as a message for `facts.to`, to be sent with the null reverse-path.

    The header section alone is returned, of which 64 KiB at the most: RET=FULL asks for the whole
    message only where it failed (RFC 3461 §4.3).  One that is not ASCII needs SMTPUTF8 to be sent.
    Raises SyntaxRefused for an address or a parameter that our parsers refuse, such as the
    null sender (RFC 5321 §4.5.5), and ValueError without recipients.
    """
    if not facts.recipients:
        raise ValueError("a report needs a recipient to tell of")
    to = parse_address(facts.to)
    addresses = [_parsed(recipient.address) for recipient in facts.recipients]
    parts = [_words(facts, addresses), _status(facts, addresses)]
    if facts.headers:
        parts.append(_original(facts.headers, smtputf8=facts.smtputf8))
    boundary = _boundary(facts.message_id, parts)
    header = [
        f"From: <postmaster@{addresses[0].domain or facts.hostname}>",
        f"To: <{to}>",
        f"Subject: {_SUBJECT}",
        f"Date: {format_datetime(facts.at)}",
        f"Message-ID: <{facts.message_id}@{facts.hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f' boundary="{boundary}"',
    ]
    if not all(map(bytes.isascii, parts)):
        header.append("Content-Transfer-Encoding: 8bit")
    opening = f"\r\n--{boundary}\r\n".encode()
    closing = f"\r\n--{boundary}--\r\n".encode()
    return b"".join((_lines(header), *(opening + part for part in parts), closing))


def _parsed(address: str) -> Address:
    return POSTMASTER if address == str(POSTMASTER) else parse_address(address)


def _words(facts: ReportFacts, addresses: list[Address]) -> bytes:
    """The part for people, French first."""
    groups = {
        action: [
            f"  {address}"
            for address, recipient in zip(addresses, facts.recipients, strict=True)
            if recipient.action is action
        ]
        for action in Action
    }
    text = [f"Accusé de réception envoyé automatiquement par {facts.hostname}."]
    arrival = f"{facts.arrival:%d/%m/%Y} à {facts.arrival:%H:%M:%S} (UTC{facts.arrival:%z})"
    text.append(f"Votre message est arrivé le {arrival}.")
    for action, group in groups.items():
        text += ["", _FRENCH[action], *group] if group else []
    text += ["", "Ceci ne dit pas si le message a été lu.", "", "* * *", ""]
    text.append(f"Delivery report sent automatically by {facts.hostname}.")
    text.append(f"Your message arrived on {format_datetime(facts.arrival)}.")
    for action, group in groups.items():
        text += ["", _ENGLISH[action], *group] if group else []
    text += ["", "This does not say whether the message was read."]
    header = [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
    ]
    return _lines(header) + b"\r\n" + _quoted_printable("\r\n".join(text).encode())


def _status(facts: ReportFacts, addresses: list[Address]) -> bytes:
    """The part for programs (RFC 3464 §2.1): fields on the message, then on each recipient."""
    fields = ["Content-Type: message/delivery-status", ""]
    if facts.envid is not None:
        fields.append(f"Original-Envelope-Id: {decode_xtext(facts.envid)}")
    fields.append(f"Reporting-MTA: dns; {facts.hostname}")
    fields.append(f"Arrival-Date: {format_datetime(facts.arrival)}")
    for address, recipient in zip(addresses, facts.recipients, strict=True):
        fields.append("")
        if recipient.orcpt is not None:
            fields.append(f"Original-Recipient: {decode_orcpt(recipient.orcpt)}")
        fields.append(f"Final-Recipient: {_typed(str(address))}")
        fields.append(f"Action: {recipient.action}")
        fields.append(f"Status: {recipient.status}")
        if recipient.diagnostic:
            diagnostic = ascii_text(recipient.diagnostic)[:_MAX_DIAGNOSTIC]
            fields.append(f"Diagnostic-Code: smtp; {diagnostic}")
    return _lines(fields)


def _typed(address: str) -> str:
    """An address with its type, in 7 bits (RFC 3464 §2.3.2, RFC 6533 §3)."""
    if address.isascii():
        return f"rfc822;{address}"
    for special in "\\+= ":
        address = address.replace(special, rf"\x{{{ord(special):02X}}}")
    return f"utf-8;{ascii_form(address)}"


def _original(headers: bytes, *, smtputf8: bool) -> bytes:
    """The header section of the message, or the whole lines of its first 64 KiB.

    What is no legal 7-bit text goes in quoted-printable (RFC 6522 §4), but as it is where the
    report may carry UTF-8 (RFC 6533 §5).
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
        headers = _quoted_printable(headers)
    opening = [f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}", ""]
    return _lines(opening) + headers


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _quoted_printable(text: bytes) -> bytes:
    """Lines in quoted-printable (RFC 2045 §6.7), in which only CRLF is a line end.

    Not by `binascii.b2a_qp`, which makes lines of 77 octets where a soft end follows a quoted one.
    """
    return b"\r\n".join(b"=\r\n".join(_pieces(line)) for line in text.split(b"\r\n"))


def _pieces(line: bytes) -> list[bytes]:
    """A line quoted, in pieces that leave room for the sign of a soft end."""
    pieces = [b""]
    for index, octet in enumerate(line):
        blank = octet in b" \t" and index < len(line) - 1  # not at the end, where it would be lost
        plain = blank or (0x21 <= octet <= 0x7E and octet != 0x3D)
        quoted = bytes((octet,)) if plain else b"=%02X" % octet
        if len(pieces[-1]) + len(quoted) > _QUOTED_LINE - 1:
            pieces.append(b"")
        pieces[-1] += quoted
    return pieces


def _boundary(message_id: str, parts: list[bytes]) -> str:
    """A boundary that stands in no part (RFC 2046 §5.1.1)."""
    candidates = (f"{message_id}.{number}" for number in itertools.count())
    return next(
        candidate for candidate in candidates if not any(candidate.encode() in p for p in parts)
    )


def _lines(lines: list[str]) -> bytes:
    """Lines with their ends.  Raises ValueError for one that would be more or less than a line."""
    for line in lines:
        if len(line.encode()) > MAX_TEXT_LINE or any(c < " " or c == "\x7f" for c in line):
            raise ValueError("a line of a report is too long or has control characters")
    return "".join(f"{line}\r\n" for line in lines).encode()
