"""Co-holders of CAB mailboxes: RPPS beside the responsible one (DOMAIN §9.37)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.schema import mailbox_holders
from mailstore.errors import InvalidAttribute
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.model import Mailbox


def check_holders(
    mailbox_type: MailboxType, responsible: Identifier, holders: Iterable[Identifier]
) -> None:
    """Raise InvalidAttribute unless a BAL may have these co-holders."""
    for holder in holders:
        if mailbox_type is not MailboxType.CAB:
            raise InvalidAttribute(f"a {mailbox_type} mailbox has no holders: only CAB")
        if holder.kind is not IdentifierKind.RPPS:
            raise InvalidAttribute(f"{holder} is no holder: give an RPPS")
        if holder == responsible:
            raise InvalidAttribute(f"{holder} is the responsible person, and no co-holder")


def add_holders(
    conn: Connection, mailbox: Mailbox, holders: Sequence[Identifier], *, now: datetime
) -> None:
    """Add co-holders of a CAB mailbox; no error for one that it has. Raises InvalidAttribute."""
    check_holders(mailbox.type, mailbox.identifier, holders)
    rows = [
        {"mailbox_id": mailbox.id, "rpps": value, "since": now}
        for value in dict.fromkeys(holder.value for holder in holders)
    ]
    if rows:
        conn.execute(insert_or_ignore(conn, mailbox_holders), rows)


def remove_holders(conn: Connection, mailbox: Mailbox, holders: Sequence[Identifier]) -> None:
    """Remove co-holders of a CAB mailbox. Raises InvalidAttribute for one that it has not."""
    for holder in holders:
        removed = conn.execute(
            delete(mailbox_holders).where(
                mailbox_holders.c.mailbox_id == mailbox.id, mailbox_holders.c.rpps == holder.value
            )
        )
        if not removed.rowcount:
            raise InvalidAttribute(f"{holder} is no co-holder of {mailbox.address}")


def holders_of(conn: Connection, mailbox_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return the RPPS of co-holders by mailbox id, sorted; mailboxes without any are absent."""
    found: dict[int, tuple[str, ...]] = {}
    query = (
        select(mailbox_holders.c.mailbox_id, mailbox_holders.c.rpps)
        .where(mailbox_holders.c.mailbox_id.in_(mailbox_ids))
        .order_by(mailbox_holders.c.mailbox_id, mailbox_holders.c.rpps)
    )
    for mailbox_id, rpps in conn.execute(query):
        found[mailbox_id] = (*found.get(mailbox_id, ()), rpps)
    return found
