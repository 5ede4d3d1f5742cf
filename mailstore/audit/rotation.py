"""Change to the newest key of the file, of all chains and totals at once.

The key is added to the file before, and the file copied to every machine of the store: a machine
without the key can write no row until it has it.
"""

from sqlalchemy import select

from mailstore.audit.event import AuditEvent
from mailstore.audit.keys import AuditKeys
from mailstore.audit.locking import LockedChain, LockedTotals, lock_chain, lock_totals, write_totals
from mailstore.audit.trail import append_to
from mailstore.db.audit_schema import audit_chains
from mailstore.db.database import Database


def use_newest_key(database: Database, keys: AuditKeys, event: AuditEvent) -> bool:
    """Add the event to every sound chain, sealed by the newest key. False if that is in use.

    Afterwards nothing that an older key seals is genuine. Writers wait meanwhile. Raises
    KeyMissing, StoreUnavailable.
    """
    keys.refresh()
    newest = keys.newest
    with database.write() as connection:
        locked = lock_totals(connection, keys)
        if locked.key == newest:
            return False
        write_totals(connection, LockedTotals(locked.totals, newest, locked.genuine), locked.totals)
        for number in connection.scalars(select(audit_chains.c.id).order_by(audit_chains.c.id)):
            chain = lock_chain(connection, keys, number)
            if chain is not None:
                append_to(connection, LockedChain(chain.ends, newest), [event])
    return True
