"""A mailbox (BAL) and its domain, as values."""

from dataclasses import dataclass
from datetime import datetime

from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.identifiers import Identifier, MailboxType
from mailstore.mailboxes.states import InboundMail, MailboxState


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain that this operator hosts for a tenant; the name is in lower case."""

    id: int
    name: str
    created_at: datetime
    tenant_id: int = OPERATOR_TENANT


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A BAL; local part as given; quota in octets, None for no limit.

    `structure`: where the person of a PER BAL works. `state_since` and `state_reason` tell of the
    present state; None: since creation. `erase_after`: when the content of a deleted BAL is erased,
    None once that is done; `erased_at`: when the erasure began.
    """

    id: int
    local_part: str
    domain: str
    type: MailboxType
    state: MailboxState
    identifier: Identifier
    description: str | None
    created_at: datetime
    quota: int | None = None
    structure: Identifier | None = None
    service: str | None = None
    responsible: str | None = None
    red_list: bool = False
    rank: int | None = None
    no_reply: bool = False
    state_since: datetime | None = None
    state_reason: str | None = None
    inbound: InboundMail | None = None
    deleted_at: datetime | None = None
    erase_after: datetime | None = None
    erased_at: datetime | None = None
    last_login_at: datetime | None = None
    tenant_id: int = OPERATOR_TENANT

    @property
    def address(self) -> str:
        """The address for display; compare addresses by `address_key`."""
        return f"{self.local_part}@{self.domain}"

    @property
    def key(self) -> str:
        """The address as compared, which the audit trail names."""
        return address_key(self.address)

    @property
    def status(self) -> str:
        """The state as people see it: active, suspended, closed or deleted."""
        return "deleted" if self.deleted_at is not None else self.state.value
