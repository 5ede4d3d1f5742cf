"""Chains and totals of the audit trail, locked until the end of a write transaction.

A chain whose seal is wrong is never extended, and totals whose seal is wrong are never sealed
again: work goes on beside the damage, and `verify` still finds it.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from mailstore.audit.chain import ChainEnds, Totals
from mailstore.audit.keys import AuditKey, AuditKeys
from mailstore.audit.tables import ends_of, sealed_ends, sealed_totals, totals_of
from mailstore.db.audit_schema import audit_chains, audit_rows, audit_state
from mailstore.db.dialect import insert_or_ignore, skip_locked
from mailstore.db.instants import instant
from mailstore.errors import KeyMissing

BROKEN_SEAL: Final = bytes(32)  # stays where the totals were found with a wrong seal

_CHAIN: Final[Any] = select(  # Any: a row of eight columns has no type of its own
    *sealed_ends,
    # A row behind the head: rows were inserted, or the head was set back.
    select(audit_rows.c.seq)
    .where(audit_rows.c.chain == audit_chains.c.id)
    .where(audit_rows.c.seq == audit_chains.c.head_seq + 1)
    .exists()
    .label("beyond"),
)
# Statements are made once: making them anew costs more than running them.
_UNLOCKED: Final = skip_locked(
    _CHAIN.where(audit_chains.c.id > bindparam("after")).order_by(audit_chains.c.id).limit(1)
)
_WRITE_ENDS: Final = update(audit_chains).where(audit_chains.c.id == bindparam("chain"))


@dataclass(frozen=True, slots=True)
class LockedChain:
    """A sound chain and the key in use."""

    ends: ChainEnds
    key: AuditKey


@dataclass(frozen=True, slots=True)
class LockedTotals:
    """Totals and the key in use; `genuine` is false if their seal is wrong."""

    totals: Totals
    key: AuditKey
    genuine: bool


def lock_free_chain(connection: Connection, keys: AuditKeys, begun_at: int) -> LockedChain:
    """Lock the first sound chain that nobody has locked; without one, begin the next.

    `begun_at` in microseconds since 1970. Raises KeyMissing if the trail has other keys.
    """
    found = _lock_unlocked(connection, keys)
    if found is None:
        locked = lock_totals(connection, keys)
        # Another writer may have begun one while this one waited for the lock.
        found = _lock_unlocked(connection, keys) or begin_chain(connection, locked, begun_at)
    return found


def lock_chain(connection: Connection, keys: AuditKeys, chain: int) -> LockedChain | None:
    """Wait for the lock of a chain; None if there is no sound chain of this number."""
    query = _CHAIN.where(audit_chains.c.id == chain).with_for_update()
    found = connection.execute(query).one_or_none()
    return None if found is None else _sound(keys, found)


def lock_totals(connection: Connection, keys: AuditKeys) -> LockedTotals:
    """Wait for the lock of the totals. Raises KeyMissing if the trail has other keys."""
    # By its number: where constraints were switched off, there may be others, which stop nobody.
    query = select(*sealed_totals).where(audit_state.c.id == 1).with_for_update()
    found = connection.execute(query).one_or_none()
    if found is None:
        # Chains without totals: the totals were removed.
        damaged = connection.scalar(select(audit_chains.c.id).limit(1)) is not None
        seal = BROKEN_SEAL if damaged else keys.newest.seal_totals(Totals())
        connection.execute(
            insert_or_ignore(connection, audit_state),
            {"id": 1, "chains": 0, "anchors": 0, "seal": seal},
        )
        found = connection.execute(query).one()
    totals = totals_of(found)
    age = keys.totals_age(totals, found.seal)
    if age is not None:
        return LockedTotals(totals, keys.all[age], genuine=True)
    return LockedTotals(totals, keys.all[age_in_use(connection, keys)], genuine=False)


def age_in_use(connection: Connection, keys: AuditKeys) -> int:
    """Age of the newest key that sealed a chain. Raises KeyMissing if none did."""
    chains = connection.execute(select(*sealed_ends).order_by(audit_chains.c.id)).all()
    ages = [keys.chain_age(ends_of(one), one.seal) for one in chains]
    known = [age for age in ages if age is not None]
    if not known:
        raise KeyMissing(
            f"no seal of the audit trail is by the keys in {keys.path}: put the file back from a "
            "backup, or copy it from another machine of this store; see mssante audit verify"
        )
    return max(known)


def write_ends(connection: Connection, ends: ChainEnds, key: AuditKey) -> None:
    """Store and seal the ends of a locked chain."""
    values = {
        "chain": ends.id,
        "floor_seq": ends.floor_seq,
        "floor_digest": ends.floor_digest,
        "head_seq": ends.head_seq,
        "head_digest": ends.head_digest,
        "seal": key.seal_chain(ends),
    }
    connection.execute(_WRITE_ENDS, values)


def write_totals(connection: Connection, locked: LockedTotals, totals: Totals) -> None:
    """Store locked totals, and seal them if they were genuine."""
    seal = locked.key.seal_totals(totals) if locked.genuine else BROKEN_SEAL
    connection.execute(
        update(audit_state)
        .where(audit_state.c.id == 1)
        .values(chains=totals.chains, anchors=totals.anchors, seal=seal)
    )


def begin_chain(connection: Connection, locked: LockedTotals, begun_at: int) -> LockedChain:
    """Add a chain; it is locked, since nobody else sees it yet."""
    highest = connection.scalar(select(func.max(audit_chains.c.id))) or 0
    ends = ChainEnds(max(locked.totals.chains, highest) + 1, begun_at)
    connection.execute(
        insert(audit_chains).values(
            id=ends.id,
            begun_at=instant(begun_at),
            floor_seq=ends.floor_seq,
            floor_digest=ends.floor_digest,
            head_seq=ends.head_seq,
            head_digest=ends.head_digest,
            seal=locked.key.seal_chain(ends),
        )
    )
    write_totals(connection, locked, replace(locked.totals, chains=ends.id))
    return LockedChain(ends, locked.key)


def _lock_unlocked(connection: Connection, keys: AuditKeys) -> LockedChain | None:
    after = 0
    while True:
        found = connection.execute(_UNLOCKED, {"after": after}).one_or_none()
        if found is None:
            return None
        locked = _sound(keys, found)
        if locked is not None:
            return locked
        after = found.id


def _sound(keys: AuditKeys, found: Row[Any]) -> LockedChain | None:
    ends = ends_of(found)
    age = keys.chain_age(ends, found.seal)
    return None if age is None or found.beyond else LockedChain(ends, keys.all[age])
