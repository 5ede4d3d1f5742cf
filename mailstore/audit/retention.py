"""Removal of rows at the end of their retention (DOMAIN §9.60, U1.2), which leaves its own trace.

Only the oldest rows of a chain go, never one that no genuine anchor covers, and never one whose
digest or seal is wrong: evidence of tampering stays. The sealed floor of the chain moves up, and
the event `audit.pruned` is appended in the same transaction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from mailstore.audit.anchors import heads_of, newest_anchors
from mailstore.audit.chain import ChainEnds, row_digest
from mailstore.audit.event import AuditActor, AuditEvent
from mailstore.audit.keys import AuditKeys
from mailstore.audit.locking import LockedChain, lock_chain
from mailstore.audit.statement import Heads
from mailstore.audit.tables import sealed_rows, stored_row
from mailstore.audit.trail import append_to
from mailstore.db.audit_schema import audit_chains, audit_rows
from mailstore.db.database import Database
from mailstore.db.instants import microseconds

BATCH: Final = 5_000  # rows removed in a transaction
_ANCHORS_TRIED: Final = 50  # the newest, for one that is genuine


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows removed from a chain at once. `problem`: reason why no more may go, else empty."""

    chain: int
    rows: int
    problem: str = ""


def prune(
    database: Database,
    keys: AuditKeys,
    before: datetime,
    clock: Callable[[], datetime],
    actor: AuditActor,
) -> Iterator[Pruned]:
    """Remove rows older than a time, batch by batch. Raises StoreUnavailable."""
    with database.read() as connection:
        chains = connection.scalars(select(audit_chains.c.id).order_by(audit_chains.c.id)).all()
        heads = _covered(connection, keys)
    for chain in chains:
        covered, _ = heads.get(chain, (0, b""))
        while True:
            with database.write() as connection:
                done = _prune_some(connection, keys, chain, covered, before, clock(), actor)
            if done.rows or done.problem:
                yield done
            if done.rows < BATCH or done.problem:
                break


def _prune_some(
    connection: Connection,
    keys: AuditKeys,
    chain: int,
    covered: int,
    before: datetime,
    now: datetime,
    actor: AuditActor,
) -> Pruned:
    locked = lock_chain(connection, keys, chain)
    if locked is None:
        return Pruned(chain, 0, "its seal is wrong")
    floor, problem = _new_floor(connection, keys, locked.ends, covered, microseconds(before))
    rows = floor.floor_seq - locked.ends.floor_seq
    if rows:
        connection.execute(
            delete(audit_rows)
            .where(audit_rows.c.chain == chain)
            .where(audit_rows.c.seq <= floor.floor_seq)
        )
        event = AuditEvent(
            at=now,
            event="audit.pruned",
            actor=actor,
            facts={"chain": chain, "through": floor.floor_seq, "rows": rows, "before": before},
        )
        append_to(connection, LockedChain(floor, locked.key), [event])
    return Pruned(chain, rows, problem)


def _covered(connection: Connection, keys: AuditKeys) -> Heads:
    """Heads of the newest anchor that is as it was signed."""
    for one in newest_anchors(connection, _ANCHORS_TRIED):
        if any(key.signed(one.statement.encode(), one.signature) for key in keys.all):
            return heads_of(one)
    return {}


def _new_floor(
    connection: Connection, keys: AuditKeys, ends: ChainEnds, covered: int, before: int
) -> tuple[ChainEnds, str]:
    """Ends with the floor behind the rows that may go; and a reason why no more may."""
    query = (
        select(*sealed_rows)
        .where(audit_rows.c.chain == ends.id)
        .where(audit_rows.c.seq > ends.floor_seq)
        .order_by(audit_rows.c.seq)
        .limit(BATCH)
    )
    floor = ends
    for row in connection.execute(query):
        if row.seq > min(covered, ends.head_seq) or row.at >= before:
            break
        try:
            whole = (
                row.seq == floor.floor_seq + 1
                and row.digest == row_digest(floor.floor_digest, stored_row(row))
                and keys.row_age(row.digest, row.seal) is not None
            )
        except (ValueError, OverflowError):
            whole = False
        if not whole:
            return floor, f"row {floor.floor_seq + 1} is not as it was written"
        floor = replace(floor, floor_seq=row.seq, floor_digest=row.digest)
    return floor, ""
