"""DSN builder: the report to a sender as a message (RFC 3461 §5, §6, RFC 3464).

Pure.  A DSN is a multipart/report of three parts (RFC 6522): text in French and English, status for
programs, and the original header section, or the whole original if it failed and RET=FULL asks for
it.  Lines end with CRLF and have at most 998 octets.  A DSN is 7-bit, unless the message came with
SMTPUTF8 or is returned whole, which some hosts cannot receive.
"""

from dataclasses import dataclass, replace
from email.utils import format_datetime
from typing import Final

from relay.dsn.human_part import subject, words
from relay.dsn.model import Action, ReportedRecipient, ReportFacts
from relay.dsn.parts import boundary, joined, original_part, status_part, words_part
from relay.smtp.address import POSTMASTER, SmtpAddress, parse_address
from relay.smtp.failure_reason import Cause
from relay.smtp.parameters import DsnReturn

__all__ = ["Action", "BuiltReport", "Cause", "ReportFacts", "ReportedRecipient", "build_report"]

DELIVERED_STATUS: Final = "2.1.5"  # positive delivery reports, RFC 3463 §3.2
RELAYED_STATUS: Final = "2.1.9"  # relayed to a host without DSN, RFC 3886


@dataclass(frozen=True, slots=True)
class BuiltReport:
    """A DSN in octets: `opening`, then the original message if `whole`, then `closing`.

    `eight_bit`, `smtputf8`: extensions needed to send it (RFC 6152, RFC 6531).
    """

    opening: bytes
    closing: bytes
    whole: bool
    eight_bit: bool
    smtputf8: bool


def build_report(facts: ReportFacts) -> BuiltReport:
    """Build the DSN as a message to `facts.to`; its reverse-path is null.

    At most 64 KiB of the original header section are returned.  A message returned whole must be
    like any message we accept: lines with CRLF, at most 998 octets.
    Raises SyntaxRefused for an address or parameter that our parsers refuse, such as the null
    sender (RFC 5321 §4.5.5), and ValueError without recipients.
    """
    if not facts.recipients:
        raise ValueError("a report needs a recipient to tell of")
    to, author = parse_address(facts.to), parse_address(f"postmaster@{facts.domain}")
    addresses = [_parsed(recipient.address) for recipient in facts.recipients]
    recipients = tuple(
        replace(recipient, address=str(address))
        for recipient, address in zip(facts.recipients, addresses, strict=True)
    )
    facts = replace(facts, recipients=recipients)
    original = original_part(facts)
    parts = [words_part(words(facts)), status_part(facts, addresses)]
    parts += [original] if original else []
    mark = boundary(facts.message_id, parts)
    header = [
        f"From: <{author}>",
        f"To: <{to}>",
        *subject(facts),
        f"Date: {format_datetime(facts.at)}",
        f"Message-ID: <{facts.message_id}@{facts.hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f' boundary="{mark}"',
    ]
    whole = facts.returned is DsnReturn.FULL
    wide = not all(map(bytes.isascii, parts))
    eight_bit = wide or (whole and (facts.eight_bit or facts.smtputf8))
    if eight_bit:
        header.append("Content-Transfer-Encoding: 8bit")
    start = f"\r\n--{mark}\r\n".encode()
    opening = b"".join((joined(header), *(start + part for part in parts)))
    return BuiltReport(
        opening,
        f"\r\n--{mark}--\r\n".encode(),
        whole,
        eight_bit=eight_bit or not opening.isascii(),
        smtputf8=not opening.isascii() or (whole and facts.smtputf8),
    )


def _parsed(address: str) -> SmtpAddress:
    return POSTMASTER if address == str(POSTMASTER) else parse_address(address)
