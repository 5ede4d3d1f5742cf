"""A recipient and its state, before the rules judge it."""

from enum import StrEnum
from typing import NamedTuple

from relay.smtp.address import SmtpAddress


class RecipientStatus(StrEnum):
    """The mailstore's answer about a recipient."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REFUSED = "suspended, its mail refused"
    CLOSED = "closed"
    FULL = "full"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"  # not one of our domains

    @property
    def open_to_all(self) -> bool:
        """Whether any sender that may send at all may send to it, whatever its address."""
        return self is RecipientStatus.ACTIVE


class Recipient(NamedTuple):  # faster than a dataclass: a message may have hundreds
    """A recipient and its state in the mailstore.

    `reports_only`: its mailbox takes DSN and MDN, and no other mail (DOMAIN §9.40).
    """

    address: SmtpAddress
    state: RecipientStatus
    reports_only: bool = False
