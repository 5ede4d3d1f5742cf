"""A trail with all that can be tampered with: chains, a floor, anchors, two generations of keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, insert, select

from mailstore.audit.anchors import make_anchor, newest_anchors
from mailstore.audit.event import JOB_ACTOR, AuditActor, Door, Result
from mailstore.audit.keys import AuditKeys, add_key
from mailstore.audit.locking import LockedChain, begin_chain, lock_chain, lock_totals
from mailstore.audit.retention import prune
from mailstore.audit.rotation import use_newest_key
from mailstore.audit.statement import SignedStatement
from mailstore.audit.trail import append_to
from mailstore.audit_reading.findings import Checked, Finding
from mailstore.audit_reading.verify import verify
from mailstore.db.audit_schema import audit_anchors, audit_chains, audit_rows, audit_state
from mailstore.db.database import Database
from tests.support.audit.trails import audit_keys, event
from tests.support.clock import NOW

TABLES: Final = (audit_chains, audit_state, audit_rows, audit_anchors)

State = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class World:
    """The trail; states of the past as an attacker with a backup has them, and anchors sent off."""

    database: Database
    keys: AuditKeys
    state: State
    before_rotation: State
    before_end: State
    sent: Sequence[SignedStatement]

    def findings(self, sent: Sequence[SignedStatement] = ()) -> list[Finding]:
        # Rows of before the first anchor were pruned.
        kept = NOW + timedelta(minutes=1)
        return list(verify(self.database, self.keys, Checked(), given=sent, kept_since=kept))

    def restore(self) -> None:
        """Undo all tampering."""
        with self.database.write() as connection:
            put(connection, self.state)


def make_world(database: Database, folder: Path) -> World:
    """Chains 1 to 3. Rows 1 and 2 of chain 1 are pruned; row 5 of each came with the second key."""
    keys = audit_keys(folder)
    with database.write() as connection:
        for _ in range(3):
            begin_chain(connection, lock_totals(connection, keys), 0)
    for number in range(1, 5):
        for chain in (1, 2, 3):
            _append(database, keys, chain, number)
        if number == 2:
            _anchor(database, keys, 1)
    _anchor(database, keys, 2)
    old = NOW + timedelta(seconds=25)
    assert [one.rows for one in prune(database, keys, old, lambda: NOW, JOB_ACTOR)] == [2, 2, 2]
    before_rotation = state_of(database)
    add_key(keys.path, NOW)
    assert use_newest_key(database, keys, event("audit.key_changed"))
    _anchor(database, keys, 3)
    for number in range(5, 7):
        for chain in (1, 2, 3):
            _append(database, keys, chain, number)
        _anchor(database, keys, number)
        if number == 5:
            before_end = state_of(database)
    with database.read() as connection:
        sent = [one.signed(keys) for one in reversed(newest_anchors(connection, 99))]
    world = World(database, keys, state_of(database), before_rotation, before_end, sent)
    assert world.findings(sent) == []
    return world


def state_of(database: Database) -> State:
    """All rows of the audit tables."""
    with database.read() as connection:
        return {
            table.name: [dict(one) for one in connection.execute(select(table)).mappings()]
            for table in TABLES
        }


def put(connection: Connection, state: State) -> None:
    """Replace all rows of the audit tables."""
    for table in TABLES:
        put_table(connection, table, state)


def put_table(connection: Connection, table: Table, state: State) -> None:
    """Replace all rows of a table."""
    connection.execute(delete(table))
    if state[table.name]:
        connection.execute(insert(table), [dict(one) for one in state[table.name]])


def _append(database: Database, keys: AuditKeys, chain: int, number: int) -> None:
    told = event(
        "mailbox.closed",
        at=NOW + timedelta(seconds=10 * number),
        actor=AuditActor(account="dr.a", unix_user="root", door=Door.IMAP, origin="192.0.2.1"),
        result=Result.REFUSED,
        tenant=chain,
        mailbox=f"box{number}@chu.mssante.fr",
        message=f"{number:032x}",
        subject="dr.b",
        facts={"reason": "départ", "number": number},
    )
    with database.write() as connection:
        locked = lock_chain(connection, keys, chain)
        assert isinstance(locked, LockedChain)
        append_to(connection, locked, [told])


def _anchor(database: Database, keys: AuditKeys, number: int) -> None:
    with database.write() as connection:
        assert make_anchor(connection, keys, NOW + timedelta(minutes=number))
