"""Appending to the audit trail, inside the transaction of the act that a row tells of.

A writer takes a chain that nobody has locked and holds it until its transaction ends; without a
free chain it begins the next. So writers do not wait for each other, nothing is kept in memory, and
a rollback or a kill leaves chain and rows as before.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from mailstore.audit.canonical import COLUMNS, values
from mailstore.audit.chain import extend
from mailstore.audit.event import AuditEvent
from mailstore.audit.keys import AuditKeys
from mailstore.audit.locking import LockedChain, lock_free_chain, write_ends
from mailstore.db.audit_schema import audit_rows
from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.instants import microseconds

_INSERT: Final = BulkInsert(audit_rows, (*COLUMNS, "digest", "seal"))


class AuditTrail:
    """The trail, written with the key in use. Thread-safe."""

    def __init__(self, keys: AuditKeys) -> None:
        self.keys = keys

    def append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Add events in their order, in the caller's write transaction, as its last step.

        A chain stays locked until the transaction ends; so does the row of the totals where a chain
        is begun. Raises KeyMissing if the trail has other keys.
        """
        if events:
            locked = lock_free_chain(connection, self.keys, microseconds(events[0].at))
            append_to(connection, locked, events)


def append_to(connection: Connection, locked: LockedChain, events: Sequence[AuditEvent]) -> None:
    """Add events to a locked chain."""
    ends, linked = extend(locked.ends, events)
    seal = locked.key.seal_row
    rows = [(*values(one.row), one.digest, seal(one.digest)) for one in linked]
    _INSERT.insert(connection, rows)
    write_ends(connection, ends, locked.key)
