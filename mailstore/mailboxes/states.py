"""Life cycle of a BAL (DOMAIN §9.39). Pure."""

from enum import StrEnum


class MailboxState(StrEnum):
    """State of a BAL. Closing is final; a suspended BAL can be resumed.

    A deleted BAL is closed in the tables; `Mailbox.deleted_at` tells.
    """

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class InboundMail(StrEnum):
    """Answer to mail for a suspended BAL: put off (450), or refused (550)."""

    DEFER = "defer"
    REFUSE = "refuse"
