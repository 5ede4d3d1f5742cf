"""Whether another machine would still run an older version beside a new schema.

From revision 0012 on, rows have sealed addresses. A daemon of an older version takes a sealed
address for the address itself, and its peers would refuse it for good: mail would be lost to
senders as failed. So all machines stop first, are upgraded, and start again.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import inspect

from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from mailstore.errors import MailstoreError
from relay.machines.rows import all_machines

_SEALED: Final = "0012"  # the first revision with sealed addresses
_LIVES: Final = timedelta(seconds=30)  # since its last beat; a live machine beats every 3 seconds


class OtherMachineRuns(MailstoreError):
    """Another machine runs an older version."""


def check_alone(database: Database, own: str | None) -> None:
    """Return if no machine but `own` may run an older version. Raises OtherMachineRuns."""
    found = database.schema_revision()
    if not database.several or found is None or found >= _SEALED:
        return
    with database.read() as connection:
        if not inspect(connection).has_table("machines"):
            return
        now = server_clock(connection)
        live = [
            one
            for one in all_machines(connection)
            if one.name != own and now is not None and now - one.seen_at < _LIVES
        ]
    if live:
        names = ", ".join(one.name for one in live)
        raise OtherMachineRuns(
            f"another machine runs an older version: {names}; it could not read the addresses that "
            "this version seals; stop mssante on all machines, wait 30 seconds, and run this again"
        )
