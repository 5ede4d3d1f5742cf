"""Life cycle of a BAL (DOMAIN §9.39)."""

from enum import StrEnum


class MailboxState(StrEnum):
    """State of a BAL. Closing is final; a suspended BAL can be resumed."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"
