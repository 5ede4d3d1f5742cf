"""Number that changes with each ending of an access, for doors in other processes."""

import secrets
from typing import Final

from sqlalchemy import Connection, select, update

from mailstore.db.people_schema import account_changes

_LONGEST_STEP: Final = 2**32  # the column holds two thousand million of these
_NUMBER: Final = select(account_changes.c.number)


def access_number(conn: Connection) -> int:
    """The number as of now; unchanged since a look means that no access has ended since."""
    return int(conn.scalar(_NUMBER) or 0)


def note_ending(conn: Connection) -> None:
    """Change the number; the row is locked until the transaction ends, so this comes last in it.

    By a random step: after a fail-over to a lagging standby, a new change gives another number than
    the lost change.
    """
    step = 1 + secrets.randbelow(_LONGEST_STEP)
    conn.execute(update(account_changes).values(number=account_changes.c.number + step))
