"""Size limits of messages: ordinary mail, and reports on mail (DOMAIN §7.3, §7.5, U5).

A report (DSN, MDN, integration error) may carry the whole message that it is about, in one more
layer of MIME: without a larger limit, a report on the largest message would never arrive.  Pure.
"""

from email.parser import BytesHeaderParser
from typing import Final

from relay.smtp.author_domains import decoded
from relay.smtp.reply import Reply

_REPORT_TENTHS: Final = 14  # of the limit for ordinary mail, DOMAIN U5
_INTEGRATION_ERROR: Final = "[ko int"  # [KO Intégration système !], however it is encoded


def report_limit(ordinary: int) -> int:
    """Size limit of a report in octets, if that of ordinary mail is `ordinary`."""
    return ordinary * _REPORT_TENTHS // 10


def limit_of(ordinary: int, *, report: bool) -> int:
    """Size limit in octets."""
    return report_limit(ordinary) if report else ordinary


def over(limit: int) -> Reply:
    """The refusal of a message over a limit; `limit` in octets on the wire."""
    return Reply(552, "5.3.4", f"Message over the limit of {limit} octets")


def is_report(section: bytes) -> bool:
    """Whether a header section is that of a report: by its type, or by its subject.

    An integration error without a request for an MDN differs from ordinary mail only by its
    subject.  A message with the null reverse-path is a report in any case.
    """
    header = BytesHeaderParser().parsebytes(section)
    if header.get_content_type() == "multipart/report":
        return True
    subject = "".join(str(header.get("subject", "")).splitlines())
    return decoded(subject).strip().lower().startswith(_INTEGRATION_ERROR)
