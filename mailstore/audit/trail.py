"""Appending to the audit trail, inside the transaction of the act that a row tells of.

A writer takes a chain that nobody has locked and holds it until its transaction ends; without a
free chain it begins the next. So writers do not wait for each other, nothing is kept in memory, and
a rollback or a kill leaves chain and rows as before.

A chain whose seal is wrong is never extended, and a number of chains whose seal is wrong is never
sealed again: work goes on beside the damage, and `verify` still finds it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from mailstore.audit.chain import ChainEnds, LinkedRow, extend
from mailstore.audit.event import AuditEvent
from mailstore.audit.keys import AuditKeys
from mailstore.audit.tables import ends_of, sealed_ends
from mailstore.db.audit_schema import audit_chains, audit_rows, audit_state
from mailstore.db.dialect import insert_or_ignore, skip_locked
from mailstore.db.schema import instant, microseconds

BROKEN_SEAL: Final = bytes(32)  # stays where the number of chains was found with a wrong seal

_FREE: Final = (
    select(
        *sealed_ends,
        # A row behind the head: rows were inserted, or the head was set back.
        select(audit_rows.c.seq)
        .where(audit_rows.c.chain == audit_chains.c.id)
        .where(audit_rows.c.seq == audit_chains.c.head_seq + 1)
        .exists()
        .label("beyond"),
    )
    .order_by(audit_chains.c.id)
    .limit(1)
)


class AuditTrail:
    """The trail, written with the newest of the keys. Thread-safe."""

    def __init__(self, keys: AuditKeys) -> None:
        self.keys = keys

    def append(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Add events in their order, in the caller's write transaction; best as its last step.

        A chain stays locked until the transaction ends. Raises StoreUnavailable by way of
        `Database.write`.
        """
        if not events:
            return
        self.keys.refresh()
        begun_at = microseconds(events[0].at)
        ends, linked = extend(self._free_chain(connection, begun_at), events)
        seal = self.keys.newest.seal_row
        connection.execute(
            insert(audit_rows),
            [{**_columns(one), "seal": seal(one.digest)} for one in linked],
        )
        self.write_ends(connection, ends)

    def write_ends(self, connection: Connection, ends: ChainEnds) -> None:
        """Store and seal the ends of a chain that this transaction has locked."""
        connection.execute(
            update(audit_chains)
            .where(audit_chains.c.id == ends.id)
            .values(
                floor_seq=ends.floor_seq,
                floor_digest=ends.floor_digest,
                head_seq=ends.head_seq,
                head_digest=ends.head_digest,
                seal=self.keys.newest.seal_chain(ends),
            )
        )

    def _free_chain(self, connection: Connection, begun_at: int) -> ChainEnds:
        ends = self._unlocked(connection)
        if ends is None:
            number, genuine = self._lock_state(connection)
            # Another writer may have begun one while this one waited for the lock.
            ends = self._unlocked(connection)
            if ends is None:
                ends = self._begin(connection, number, begun_at, genuine=genuine)
        return ends

    def _unlocked(self, connection: Connection) -> ChainEnds | None:
        """Lock the first sound chain that nobody has locked."""
        after = 0
        while True:
            found = connection.execute(
                skip_locked(_FREE.where(audit_chains.c.id > after))
            ).one_or_none()
            if found is None:
                return None
            ends = ends_of(found)
            if not found.beyond and self.keys.chain_age(ends, found.seal) is not None:
                return ends
            after = ends.id

    def _lock_state(self, connection: Connection) -> tuple[int, bool]:
        """Lock the number of chains; returns it, and whether its seal is right."""
        query = select(audit_state.c.chains, audit_state.c.seal).with_for_update()
        found = connection.execute(query).one_or_none()
        if found is None:
            chains = connection.scalar(select(func.count()).select_from(audit_chains))
            # Chains without their number: it was removed.
            seal = BROKEN_SEAL if chains else self.keys.newest.seal_state(0)
            connection.execute(
                insert_or_ignore(connection, audit_state), {"id": 1, "chains": 0, "seal": seal}
            )
            found = connection.execute(query).one()
        return found.chains, self.keys.state_age(found.chains, found.seal) is not None

    def _begin(
        self, connection: Connection, number: int, begun_at: int, *, genuine: bool
    ) -> ChainEnds:
        highest = connection.scalar(select(func.max(audit_chains.c.id))) or 0
        ends = ChainEnds(max(number, highest) + 1, begun_at)
        key = self.keys.newest
        connection.execute(
            insert(audit_chains).values(
                id=ends.id,
                begun_at=instant(begun_at),
                floor_seq=ends.floor_seq,
                floor_digest=ends.floor_digest,
                head_seq=ends.head_seq,
                head_digest=ends.head_digest,
                seal=key.seal_chain(ends),
            )
        )
        seal = key.seal_state(ends.id) if genuine else BROKEN_SEAL
        connection.execute(update(audit_state).values(chains=ends.id, seal=seal))
        return ends


def _columns(linked: LinkedRow) -> dict[str, Any]:
    return {**asdict(linked.row), "at": instant(linked.row.at), "digest": linked.digest}
