"""Mail to patients, at the one domain of Mon espace santé (DOMAIN §1.2, §1.5, §7.4, §9.30).

Pure.  A patient's address contains the INS, which is health data: no reply here repeats it.
"""

from enum import StrEnum
from typing import Final

from foundation.ins import PATIENT_DOMAIN, is_ins
from relay.smtp.address import SmtpAddress
from relay.smtp.reply import Reply

MAX_BYTES: Final = 26_214_400  # 25 MB of content, DOMAIN §7.4, §7.5

# The national test mailbox, an automatic responder: the only address without INS (DOMAIN §1.2).
_TEST_MAILBOX: Final = "reponse.automatique-test"


class Counted(StrEnum):
    """The size that the limit for mail to patients counts."""

    CONTENT = "content"  # the message with its attachments decoded
    WIRE = "wire"  # the octets that are sent


def over(limit: int, counted: Counted) -> Reply:
    """The refusal of a message over the limit for patients."""
    of = "octets of content" if counted is Counted.CONTENT else "octets"
    return Reply(552, "5.3.4", f"Message over the limit of {limit} {of} to {PATIENT_DOMAIN}")


def refusal(address: SmtpAddress, *, check_key: bool) -> Reply | None:
    """The refusal of a patient's address, without quoting it; None if it is well-formed.

    `check_key`: the key of the INS must be right too (`foundation.ins.is_ins`).
    """
    if address.local.lower() == _TEST_MAILBOX or is_ins(address.local, key=check_key):
        return None
    if is_ins(address.local, key=False):
        return _malformed("is an INS whose last two digits, its key, are wrong")
    return _malformed("is not an INS of 15 characters")


def _malformed(fault: str) -> Reply:
    return Reply(553, "5.1.3", f"What stands before @{PATIENT_DOMAIN} {fault}")
