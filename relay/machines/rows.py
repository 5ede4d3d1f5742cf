"""The rows of the machines that share one database; a row is changed only if still as seen before.

All functions run in the caller's transaction.  A machine counts up the `beat` of its row; if the
beat changes by itself, another machine has the same name.
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
    """A row: the name in leases, its holder's proof, its beat and when that was counted.

    `seen_at` is by the clock of the database.
    """

    name: str
    proof: str
    beat: int
    seen_at: datetime


def all_machines(connection: Connection) -> list[Machine]:
    """All machines, by name."""
    return [_of(row) for row in connection.execute(select(machines).order_by(_M.name))]


def find_machine(connection: Connection, name: str) -> Machine | None:
    """The machine of a name, if there is any."""
    row = connection.execute(select(machines).where(_M.name == name)).first()
    return None if row is None else _of(row)


def insert_machine(connection: Connection, machine: Machine) -> bool:
    """Add a machine; False if its name exists already."""
    row = {
        "name": machine.name,
        "proof": machine.proof,
        "beat": machine.beat,
        "seen_at": machine.seen_at,
    }
    statement = insert_or_ignore(connection, machines).values(row).returning(_M.name)
    return connection.execute(statement).first() is not None


def update_machine(connection: Connection, seen: Machine, into: Machine) -> bool:
    """Replace the row `seen` by `into`, of the same name; False if the row has changed."""
    statement = update(machines).where(_as_seen(seen))
    values = {"proof": into.proof, "beat": into.beat, "seen_at": into.seen_at}
    return connection.execute(statement.values(values)).rowcount == 1


def delete_machine(connection: Connection, seen: Machine) -> bool:
    """Remove a machine; False if it has counted since `seen` was read."""
    return connection.execute(delete(machines).where(_as_seen(seen))).rowcount == 1


def _as_seen(seen: Machine) -> ColumnElement[bool]:
    return and_(_M.name == seen.name, _M.proof == seen.proof, _M.beat == seen.beat)


def _of(row: Any) -> Machine:
    return Machine(row.name, row.proof, row.beat, row.seen_at)


def leases_of(connection: Connection) -> Counter[str]:
    """The number of leased deliveries for each machine's name; reads the whole queue."""
    d = deliveries.c
    query = select(d.lease_owner, func.count()).where(d.lease_until.is_not(None))
    leases: Counter[str] = Counter()
    for owner, number in connection.execute(query.group_by(d.lease_owner)):
        if owner is not None:
            leases[owner.partition(":")[0]] += number
    return leases
