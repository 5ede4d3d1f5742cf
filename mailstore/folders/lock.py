"""Lock of a mailbox: whoever changes its folders or messages holds its row in `mailbox_state`.

Modification sequences (RFC 7162) are given under this lock, which ends with the transaction: so a
change that becomes visible later never has a lower one. Deliveries do not take it.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, select, update

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.folder_schema import mailbox_state
from mailstore.news.changes import note_changed

_STATE = mailbox_state.c


@dataclass(slots=True)
class MailboxLock:
    """A locked mailbox in a write transaction, and the modification sequence of its changes.

    `before`: the highest modification sequence of earlier transactions.
    """

    conn: Connection
    mailbox_id: int
    before: int
    private_seen: bool
    _given: int | None = field(default=None, repr=False)

    def modseq(self) -> int:
        """The modification sequence of all changes of this transaction; above all earlier."""
        if self._given is None:
            self._given = self.before + 1
            self.conn.execute(
                update(mailbox_state)
                .where(_STATE.mailbox_id == self.mailbox_id)
                .values(modseq=self._given)
            )
            note_changed(self.conn, [self.mailbox_id])
        return self._given


def lock_mailbox(conn: Connection, mailbox_id: int) -> MailboxLock:
    """Lock a mailbox until the end of a write transaction; its state row is made if missing.

    An unknown mailbox passes as sqlalchemy.exc.IntegrityError.
    """
    query = (
        select(_STATE.modseq, _STATE.private_seen)
        .where(_STATE.mailbox_id == mailbox_id)
        .with_for_update()
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        conn.execute(
            insert_or_ignore(conn, mailbox_state),
            {
                "mailbox_id": mailbox_id,
                "modseq": 0,
                "floor_modseq": 0,
                "messages": 0,
                "octets": 0,
            },
        )
        row = conn.execute(query).one()
    return MailboxLock(conn, mailbox_id, row.modseq, row.private_seen)
