"""Parser of delivery reports, with checks that hold for any report and any input of peers."""

import binascii
import email
import re
from dataclasses import dataclass
from email import policy

from relay.dsn.builder import BuiltReport

HEADER = (
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"),
    "Content-Type",
)
OF_MESSAGE = re.compile(r"(Original-Envelope-Id )?Reporting-MTA Arrival-Date")
OF_RECIPIENT = re.compile(
    r"(Original-Recipient )?Final-Recipient Action Status( Remote-MTA)?( Diagnostic-Code)?"
    r"( Last-Attempt-Date)?( Will-Retry-Until)?"
)  # RFC 3464 §2.2, §2.3

Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Parsed report: header, text, status fields, type and octets of the original."""

    header: Fields
    words: str
    message: Fields
    recipients: list[Fields]
    original_type: str
    original: bytes


def octets_of(report: BuiltReport, original: bytes = b"") -> bytes:
    """Octets of a report as sent, with the message in it if the report returns all of it."""
    octets = report.opening + (original if report.whole else b"") + report.closing
    assert report.eight_bit or octets.isascii()
    assert report.smtputf8 or octets.partition(b"\r\n\r\n")[0].isascii()
    return octets


def read_report(octets: bytes) -> ReadReport:
    """Parse a report, and check its lines, fields and parts."""
    lines = octets.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 998 and not re.search(rb"[\r\n\0]", line) for line in lines)
    parsed = email.message_from_bytes(octets, policy=policy.SMTP)
    parts = list(parsed.iter_parts())
    assert [part.defects for part in (parsed, *parts) if part.defects] == []
    opening, _, body = octets.partition(b"\r\n\r\n")
    header = _fields(opening.replace(b"\r\n ", b" ").decode())
    encoding = header.pop("Content-Transfer-Encoding", "7bit")
    assert encoding == "8bit" or (encoding == "7bit" and body.isascii())
    assert tuple(header) == HEADER
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    pieces = octets.split(f"\r\n--{parsed.get_boundary()}".encode())
    assert pieces.pop() == b"--\r\n"
    words, status, *original = (piece.removeprefix(b"\r\n") for piece in pieces[1:])
    assert len(original) <= 1
    assert len(parts) == 2 + len(original)
    message, *recipients = _status(status)
    kind, content = _original(original[0]) if original else ("", b"")
    return ReadReport(header, _words(words), message, recipients, kind, content)


def _fields(text: str) -> Fields:
    pairs = [line.partition(": ") for line in text.removesuffix("\r\n").split("\r\n")]
    fields = {name: value for name, colon, value in pairs if colon}
    assert len(fields) == len(pairs), "each field once"
    return fields


def _words(part: bytes) -> str:
    header, _, body = part.partition(b"\r\n\r\n")
    assert _fields(header.decode()) == {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "quoted-printable",
    }
    assert max(map(len, body.split(b"\r\n"))) <= 76  # RFC 2045 §6.7
    return binascii.a2b_qp(body).decode()


def _status(part: bytes) -> list[Fields]:
    kind, *blocks = part.decode("ascii").split("\r\n\r\n")
    assert kind == "Content-Type: message/delivery-status"
    groups = [_fields(block) for block in blocks]
    assert OF_MESSAGE.fullmatch(" ".join(groups[0]))
    assert all(OF_RECIPIENT.fullmatch(" ".join(group)) for group in groups[1:])
    return groups


def _original(part: bytes) -> tuple[str, bytes]:
    header, _, body = part.partition(b"\r\n\r\n")
    fields = _fields(header.decode("ascii"))
    if fields["Content-Transfer-Encoding"] == "quoted-printable":
        assert max(map(len, body.split(b"\r\n"))) <= 76
        return fields["Content-Type"], binascii.a2b_qp(body)
    assert fields["Content-Transfer-Encoding"] == "8bit" or body.isascii()
    return fields["Content-Type"], body
