"""Recipients: mailboxes by their addresses and aliases, for the path of arriving mail.

One prepared query for many addresses, with the few columns that decide about mail.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    cast,
    literal_column,
    null,
    select,
    union_all,
)

from mailstore.db.schema import UtcTime, aliases, mailboxes
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.states import InboundMail, MailboxState


class StoredRecipient(NamedTuple):  # a third of a dataclass's time; there may be hundreds
    """A mailbox, as found by an address of it. `alias`: by an alias, which ends at `ends_at`."""

    mailbox_id: int
    type: MailboxType
    state: MailboxState
    inbound: InboundMail | None
    no_reply: bool
    quota: int | None
    domain_id: int
    alias: bool
    ends_at: datetime | None


def find_recipients(conn: Connection, addresses: Iterable[str]) -> dict[str, StoredRecipient]:
    """Find the mailboxes of many addresses by a single query; deleted ones are absent.

    Keys are the addresses as given, well-formed or not; unknown addresses are absent. An alias that
    has ended is present, as `ends_at` tells.
    """
    keys = {address: address_key(address) for address in addresses}
    if not keys:
        return {}
    rows = conn.execute(_FOUND, {"addresses": list(set(keys.values()))})
    found = {
        key: StoredRecipient(
            mailbox_id,
            _TYPES[kind],
            _STATES[state],
            None if inbound is None else InboundMail(inbound),
            bool(no_reply),
            quota,
            domain_id,
            bool(alias),
            ends_at,
        )
        for (
            key,
            mailbox_id,
            kind,
            state,
            inbound,
            no_reply,
            quota,
            domain_id,
            alias,
            ends_at,
        ) in rows
    }
    return {address: found[key] for address, key in keys.items() if key in found}


def any_closed(conn: Connection, mailbox_ids: Iterable[int]) -> bool:
    """Whether one of these mailboxes is closed or deleted."""
    return conn.scalar(_CLOSED, {"mailboxes": list(mailbox_ids)}) is not None


_TYPES = {one.value: one for one in MailboxType}
_STATES = {one.value: one for one in MailboxState}
_ASKED: BindParameter[str] = bindparam("addresses", expanding=True)
_BOX = mailboxes.c
_FACTS = (_BOX.id, _BOX.type, _BOX.state, _BOX.inbound, _BOX.no_reply, _BOX.quota, _BOX.domain_id)
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_FOUND = union_all(
    select(
        _BOX.address,
        *_FACTS,
        literal_column("0").label("alias"),
        cast(null(), UtcTime).label("ends_at"),
    ).where(_BOX.address.in_(_ASKED), _BOX.deleted_at.is_(None)),
    select(aliases.c.address, *_FACTS, literal_column("1"), aliases.c.ends_at)
    .join_from(aliases, mailboxes)
    .where(aliases.c.address.in_(_ASKED), _BOX.deleted_at.is_(None)),
)
_CLOSED = (
    select(_BOX.id)
    .where(
        _BOX.id.in_(bindparam("mailboxes", expanding=True)),
        _BOX.state == MailboxState.CLOSED.value,
    )
    .limit(1)
)
