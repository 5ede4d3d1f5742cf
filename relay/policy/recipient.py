"""What is known of a recipient before it is judged."""

from enum import StrEnum
from typing import NamedTuple

from relay.smtp.address import Address


class MailboxState(StrEnum):
    """What the mailstore says of a recipient."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"
    FULL = "full"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"  # not one of our domains

    @property
    def open_to_all(self) -> bool:
        """Whether who may send at all may send to it, whatever its address."""
        return self is MailboxState.ACTIVE


class Recipient(NamedTuple):  # for each of hundreds
    """A recipient and what the mailstore says of it."""

    address: Address
    state: MailboxState
