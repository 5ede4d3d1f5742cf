"""Tampering that leaves rows unreadable, and tampering that only anchors kept elsewhere show."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import (
    Connection,
    delete,
    select,
    text,
    update,
)

from mailstore.audit.chain import Totals
from mailstore.audit.statement import parse_statement, text_digest
from mailstore.audit.tables import ends_of, sealed_ends
from mailstore.db.audit_schema import audit_anchors, audit_chains, audit_rows, audit_state
from tests.support.audit.tampering import FIRST_CHAIN, rewrite
from tests.support.audit.tampering_tools import HEAD, Tampering, at_row, get
from tests.support.audit.world import World, put


def _sql(table: str, column: str, value: str) -> Tampering:
    where = {
        "audit_rows": "chain = 1 AND seq = 5",
        "audit_chains": "id = 1",
        "audit_state": "id = 1",
        "audit_anchors": "number = 3",
    }
    # The words are of the table below.
    statement = f"UPDATE {table} SET {column} = {value} WHERE {where[table]}"  # noqa: S608

    def tamper(connection: Connection, _world: World) -> None:
        assert connection.execute(text(statement)).rowcount

    return tamper


def second_totals(connection: Connection, _world: World) -> None:
    """Other totals beside the true ones, with the constraint switched off."""
    connection.execute(text("PRAGMA ignore_check_constraints = ON"))
    connection.execute(
        text("INSERT INTO audit_state SELECT 2, chains, anchors, seal FROM audit_state")
    )
    connection.execute(text("PRAGMA ignore_check_constraints = OFF"))


MALFORMED: Final[Mapping[str, Tampering]] = {
    f"{column} of {table} = {value}": _sql(table, column, value)
    for table, column, value in (
        ("audit_rows", "seq", "'x'"),
        ("audit_rows", "seq", "5.5"),
        ("audit_rows", "chain", "'x'"),
        ("audit_rows", "at", "'noon'"),
        ("audit_rows", "at", "at + 0.5"),
        ("audit_rows", "account", "x'64722e61'"),
        ("audit_rows", "account", "CAST(x'ff' AS TEXT)"),
        ("audit_rows", "tenant_id", "'x'"),
        ("audit_rows", "facts", "5.5"),
        ("audit_rows", "digest", "'x'"),
        ("audit_rows", "seal", "5"),
        ("audit_chains", "begun_at", "'x'"),
        ("audit_chains", "floor_digest", "'x'"),
        ("audit_chains", "head_seq", "'x'"),
        ("audit_chains", "seal", "'x'"),
        ("audit_state", "chains", "'x'"),
        ("audit_state", "anchors", "'x'"),
        ("audit_anchors", "at", "'x'"),
        ("audit_anchors", "statement", "x'00'"),
        ("audit_anchors", "signature", "'x'"),
    )
} | {"second totals": second_totals}


# ---- consistent in itself: found by anchors that were sent off


def _all_of_before(connection: Connection, world: World) -> None:
    put(connection, world.before_end)


def _emptied(connection: Connection, _world: World) -> None:
    for table in (audit_rows, audit_chains, audit_state, audit_anchors):
        connection.execute(delete(table))


def _owner_rewrites(connection: Connection, world: World) -> None:
    """Whoever owns the machine has the keys: a row changed, all sealed and signed anew."""
    key = world.keys.newest
    ends = rewrite(connection, 5, key.seal_row)
    connection.execute(update(audit_chains).where(FIRST_CHAIN).values(seal=key.seal_chain(ends)))
    before = None
    for row in connection.execute(select(audit_anchors).order_by(audit_anchors.c.number)).all():
        statement = parse_statement(row.statement)
        heads = dict(statement.heads)
        if heads[1][0] >= 5:
            row_now = get(connection, audit_rows, at_row(1, heads[1][0]))
            heads[1] = heads[1][0], row_now["digest"]
        changed = replace(statement, heads=heads, before=before or statement.before).text()
        before = text_digest(changed)
        where = audit_anchors.c.number == row.number
        signature = row.signature if changed == row.statement else key.sign(changed.encode())
        values = {"statement": changed, "signature": signature}
        connection.execute(update(audit_anchors).where(where).values(values))


def _owner_removes_anchors(connection: Connection, world: World) -> None:
    connection.execute(delete(audit_anchors))
    totals = Totals(chains=3)
    values = {"anchors": 0, "seal": world.keys.newest.seal_totals(totals)}
    connection.execute(update(audit_state).values(values))


def _owner_prunes(connection: Connection, world: World) -> None:
    """All rows but the last removed as the retention does, and the floor sealed."""
    key = world.keys.newest
    ends = ends_of(connection.execute(select(*sealed_ends).where(FIRST_CHAIN)).one())
    floor = get(connection, audit_rows, at_row(1, HEAD - 1))
    moved = replace(ends, floor_seq=HEAD - 1, floor_digest=floor["digest"])
    connection.execute(delete(audit_rows).where(audit_rows.c.chain == 1, audit_rows.c.seq < HEAD))
    values = {
        "floor_seq": moved.floor_seq,
        "floor_digest": moved.floor_digest,
        "seal": key.seal_chain(moved),
    }
    connection.execute(update(audit_chains).where(FIRST_CHAIN).values(values))
    _owner_removes_anchors(connection, world)


STEALTHY: Final[Mapping[str, Tampering]] = {
    "state of before restored whole": _all_of_before,
    "all tables emptied": _emptied,
    "rewritten by the owner of the machine": _owner_rewrites,
    "anchors removed by the owner of the machine": _owner_removes_anchors,
    "rows removed early by the owner of the machine": _owner_prunes,
}
