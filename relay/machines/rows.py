"""The rows of the machines that share one database: each is changed only as it was seen before.

All inside the caller's transaction.  `beat` is counted up by the machine that has the name; whoever
finds it changed without having done so knows that another machine has the name, too.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from mailstore.db.dialect import insert_or_ignore
from relay.machines.schema import machines
from relay.queue.schema import deliveries

_M = machines.c


@dataclass(frozen=True, slots=True)
class Machine:
    """A row: the name in leases, the proof of whoever has it, its beat and when that was counted.

    `seen_at` is by the clock of the database.
    """

    name: str
    proof: str
    beat: int
    seen_at: datetime


def all_machines(connection: Connection) -> list[Machine]:
    """All that are known, by name."""
    return [_of(row) for row in connection.execute(select(machines).order_by(_M.name))]


def find_machine(connection: Connection, name: str) -> Machine | None:
    """The one of a name."""
    row = connection.execute(select(machines).where(_M.name == name)).first()
    return None if row is None else _of(row)


def enter(connection: Connection, machine: Machine) -> bool:
    """Add a machine; False if its name is there already."""
    row = {
        "name": machine.name,
        "proof": machine.proof,
        "beat": machine.beat,
        "seen_at": machine.seen_at,
    }
    statement = insert_or_ignore(connection, machines).values(row).returning(_M.name)
    return connection.execute(statement).first() is not None


def change(connection: Connection, seen: Machine, into: Machine) -> bool:
    """Put `into` in the place of `seen`, of the same name; False if that is not so any more."""
    statement = update(machines).where(_as_seen(seen))
    values = {"proof": into.proof, "beat": into.beat, "seen_at": into.seen_at}
    return connection.execute(statement.values(values)).rowcount == 1


def strike_out(connection: Connection, seen: Machine) -> bool:
    """Remove a machine; False if it has counted since it was seen."""
    return connection.execute(delete(machines).where(_as_seen(seen))).rowcount == 1


def _as_seen(seen: Machine) -> ColumnElement[bool]:
    return and_(_M.name == seen.name, _M.proof == seen.proof, _M.beat == seen.beat)


def _of(row: Any) -> Machine:
    return Machine(row.name, row.proof, row.beat, row.seen_at)


def leases_of(connection: Connection) -> Counter[str]:
    """How many deliveries are leased, by the names of machines; reads the whole queue."""
    d = deliveries.c
    query = select(d.lease_owner, func.count()).where(d.lease_until.is_not(None))
    leases: Counter[str] = Counter()
    for owner, number in connection.execute(query.group_by(d.lease_owner)):
        if owner is not None:
            leases[owner.partition(":")[0]] += number
    return leases
