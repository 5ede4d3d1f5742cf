"""Number that changes with each change of a mailbox: cached mailboxes stay valid while it stays."""

import secrets
from typing import Final

from sqlalchemy import Connection, select, update

from mailstore.db.schema import mailbox_changes

_LONGEST_STEP: Final = 2**32  # the column holds two thousand million of these
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_CHANGE_NUMBER = select(mailbox_changes.c.number)


def change_number(conn: Connection) -> int:
    """A number that changes with each change (not addition) of a mailbox."""
    return int(conn.scalar(_CHANGE_NUMBER) or 0)


def note_change(conn: Connection) -> None:
    """Change the number, in the transaction of a change."""
    # A random step: after a fail-over to a lagging standby, a new change gives another number than
    # the lost change, and no process continues with lost mailboxes in its cache.
    step = 1 + secrets.randbelow(_LONGEST_STEP)
    conn.execute(update(mailbox_changes).values(number=mailbox_changes.c.number + step))
