"""Mail to patients, at the one domain of Mon espace santé (DOMAIN §1.2, §1.5, §7.4, §9.30).

Pure.  A patient's address is made of the INS, which is health data: nothing here gives it back.
"""

import re
from enum import StrEnum
from typing import Final

from relay.address import PATIENT_DOMAIN, Address
from relay.errors import Reply

MAX_BYTES: Final = 26_214_400  # 25 MB of content, DOMAIN §7.4, §7.5

# The national test mailbox, which answers by itself: the one address that is no INS (DOMAIN §1.2).
_TEST_MAILBOX: Final = "reponse.automatique-test"
# Sex, year and month of birth; department, 2A and 2B in Corsica; commune and order; then the key.
_INS: Final = re.compile(r"(\d{5})(\d\d|2[AB])(\d{6})(\d\d)", re.ASCII | re.IGNORECASE)
_CORSICA: Final = {"2A": "19", "2B": "18"}  # what the departments count as in the key


class Counted(StrEnum):
    """What the limit for mail to patients counts."""

    CONTENT = "content"  # the message with its attachments decoded
    WIRE = "wire"  # the octets that are sent


def over(limit: int, counted: Counted) -> Reply:
    """The refusal of a message over the limit for patients."""
    of = "octets of content" if counted is Counted.CONTENT else "octets"
    return Reply(552, "5.3.4", f"Message over the limit of {limit} {of} to {PATIENT_DOMAIN}")


def refusal(address: Address, *, check_key: bool) -> Reply | None:
    """The refusal of an address of a patient, without a word of it; None if it is well-formed.

    Fifteen characters, the last two a key over the others: 97 - (n mod 97).  The key is the public
    rule of the NIR, and some examples of ANS fail it, hence `check_key` (DOMAIN §1.5).
    """
    if address.local.lower() == _TEST_MAILBOX:
        return None
    parts = _INS.fullmatch(address.local)
    if parts is None:
        return _malformed("is not an INS of 15 characters")
    if check_key and not _agrees(parts):
        return _malformed("is an INS whose last two digits, its key, are wrong")
    return None


def has_right_key(text: str) -> bool:
    """Whether a text is an INS of 15 characters whose last two are the key of the others."""
    parts = _INS.fullmatch(text)
    return parts is not None and _agrees(parts)


def _agrees(parts: re.Match[str]) -> bool:
    born, department, order, key = parts.groups()
    number = int(born + _CORSICA.get(department.upper(), department) + order)
    return int(key) == 97 - number % 97


def _malformed(fault: str) -> Reply:
    return Reply(553, "5.1.3", f"What stands before @{PATIENT_DOMAIN} {fault}")
