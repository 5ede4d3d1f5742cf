"""States of a mailbox: active, suspended, closed, deleted (DOMAIN §9.39).

A suspended BAL may be resumed; closing is final. Deleting closes a BAL in any state, hides it from
senders, and sets the time at which its content is erased; until then it can be restored. The row
stays in any case: nobody else ever gets the address. Functions take a connection in a write
transaction; `now` is an aware time.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, null, select, update

from mailstore.db.schema import mailboxes
from mailstore.errors import InvalidState, NotFound
from mailstore.mailboxes.changes import note_change
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.news.changes import note_changed

# A session that accepted a recipient before the deletion delivers within this time.
LEAST_GRACE: Final = timedelta(hours=1)


def set_state(
    conn: Connection,
    address: str,
    state: MailboxState,
    *,
    reason: str | None = None,
    inbound: InboundMail | None = None,
    now: datetime | None = None,
) -> Mailbox:
    """Suspend, resume or close a mailbox; one that has this state keeps its date and reason.

    `inbound`: what mail gets while it is suspended; None for the default. Raises NotFound, and
    InvalidState for a closed mailbox, which stays closed.
    """
    mailbox = get_mailbox(conn, address)
    if mailbox.deleted_at is not None:
        raise InvalidState(f"the mailbox {mailbox.address} is deleted")
    kept = mailbox.state is state and mailbox.inbound is inbound
    if kept:
        return mailbox
    changed = conn.execute(
        update(mailboxes)
        .where(mailboxes.c.id == mailbox.id, mailboxes.c.deleted_at.is_(None))
        .where(mailboxes.c.state != MailboxState.CLOSED.value)
        .values(
            state=state.value,
            state_since=now,
            state_reason=reason,
            inbound=None if inbound is None else inbound.value,
        )
    )
    if not changed.rowcount:
        raise InvalidState(f"the mailbox {mailbox.address} is closed, which is final")
    note_change(conn)
    note_changed(conn, [mailbox.id])
    return get_mailbox(conn, address)


def delete_mailbox(
    conn: Connection, address: str, *, reason: str, grace: timedelta, now: datetime
) -> Mailbox:
    """Delete a mailbox; its content is erased after `grace`, at least `LEAST_GRACE`.

    Raises NotFound, and InvalidState for a deleted mailbox, or for a time long before the last
    change of its state: by such a clock the content would be erased too early.
    """
    mailbox = get_mailbox(conn, address)
    if now < (mailbox.state_since or mailbox.created_at) - LEAST_GRACE:
        raise InvalidState(
            f"this clock says {now.isoformat()}, which is before {mailbox.address} got its present "
            "state: set the clock; if it is right, suspend and resume the mailbox first"
        )
    changed = conn.execute(
        update(mailboxes)
        .where(mailboxes.c.id == mailbox.id, mailboxes.c.deleted_at.is_(None))
        .values(
            state_before=mailboxes.c.state,
            state=MailboxState.CLOSED.value,
            state_since=now,
            state_reason=reason,
            deleted_at=now,
            erase_after=now + max(grace, LEAST_GRACE),
        )
    )
    if not changed.rowcount:
        raise InvalidState(f"the mailbox {mailbox.address} is deleted already")
    note_change(conn)
    note_changed(conn, [mailbox.id])
    return get_mailbox(conn, address)


def lock_for_rights(conn: Connection, mailbox_id: int) -> None:
    """Lock a mailbox until the transaction ends, before something is given that opens it.

    So nothing is given to a mailbox that is being deleted, and comes back with its restoration.
    Mail goes on meanwhile. Raises NotFound, and InvalidState for a deleted mailbox.
    """
    row = conn.execute(
        select(mailboxes.c.address, mailboxes.c.deleted_at)
        .where(mailboxes.c.id == mailbox_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no mailbox of number {mailbox_id}")
    if row.deleted_at is not None:
        raise InvalidState(f"the mailbox {row.address} is deleted: restore it first")


def restore_mailbox(conn: Connection, address: str, *, reason: str, now: datetime) -> Mailbox:
    """Give a deleted mailbox the state back that it had, with all its content.

    Raises NotFound, and InvalidState for a mailbox that is not deleted or whose erasure has begun:
    the row tells, and no clock.
    """
    mailbox = get_mailbox(conn, address)
    changed = conn.execute(
        update(mailboxes)
        .where(mailboxes.c.id == mailbox.id, mailboxes.c.deleted_at.is_not(None))
        .where(mailboxes.c.erased_at.is_(None))
        .values(
            state=mailboxes.c.state_before,
            state_before=null(),
            state_since=now,
            state_reason=reason,
            deleted_at=None,
            erase_after=None,
        )
    )
    if not changed.rowcount:
        deleted = mailbox.deleted_at is not None
        why = (
            "deleted, and too late to restore: its content is erased" if deleted else "not deleted"
        )
        raise InvalidState(f"the mailbox {mailbox.address} is {why}")
    note_change(conn)
    note_changed(conn, [mailbox.id])
    return get_mailbox(conn, address)
