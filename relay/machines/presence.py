"""A machine's hold on its name: taken once, then renewed by counting while its courier lives.

Each count adds a random number.  So a machine can tell its own value, whose commit it did not hear
of, from a value of another machine; a copy of its whole memory is found out as well.
A database that came back with an older state (a fail-over) shows a lower value, or no row: no other
machine can have done that.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from foundation.clock_watch import since_boot
from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from relay.machines.rows import Machine, find_machine, insert_machine, update_machine

STEP: Final = 2**32  # the most that a count adds: 2**63 suffices for centuries
_TRIES: Final = 3  # in one transaction, if the row changes at the same time


@dataclass(slots=True)
class MachinePresence:
    """One machine's name; every method blocks and may raise StoreUnavailable.

    `proof` differs for a copy of the folder on another machine.  For one thread at a time.
    """

    database: Database
    name: str
    proof: str
    clock: Callable[[], datetime]
    randomness: random.Random
    running: Callable[[], float] = since_boot
    _row: Machine | None = field(default=None, init=False)  # our last known write
    _unconfirmed: set[int] = field(default_factory=set, init=False)  # counts that may be committed
    _counted_at: float = field(default=float("-inf"), init=False)

    @property
    def since_count(self) -> float:
        """Seconds since the start of the last count that is known to be on disk."""
        return self.running() - self._counted_at

    def read(self) -> Machine | None:
        """The row of the name, if there is any."""
        with self.database.read() as connection:
            return find_machine(connection, self.name)

    def claim(self, seen: Machine | None) -> bool:
        """Make the name ours if its row is still `seen`; False if it has changed."""
        began = self.running()
        with self.database.write() as connection:
            mine = self._next(connection, seen.beat if seen is not None else 0)
            if not _put(connection, seen, mine):
                return False
        self._note_count(mine, began)
        return True

    def count_beat(self) -> bool:
        """Count up; False, with nothing changed, if another machine has the name."""
        known = self._row
        if known is None:
            message = "the name was not taken"
            raise ValueError(message)
        began = self.running()
        with self.database.write() as connection:
            mine = self._next(connection, known.beat)
            self._unconfirmed.add(mine.beat)
            seen: Machine | None = known
            for _ in range(_TRIES):
                if _put(connection, seen, mine):
                    break
                seen = find_machine(connection, self.name)
                if seen is not None and not self._is_ours(seen, known):
                    return False
                if seen is not None:
                    mine = replace(mine, beat=max(known.beat, seen.beat) + self._step())
                    self._unconfirmed.add(mine.beat)
            else:
                return True  # undecided; the next count decides
        self._note_count(mine, began)
        return True

    def _is_ours(self, seen: Machine, known: Machine) -> bool:
        """Whether a row that differs from the known one is our own write, or an older state."""
        older = seen.beat < known.beat
        return seen.proof == self.proof and (older or seen.beat in self._unconfirmed)

    def _next(self, connection: Connection, beat: int) -> Machine:
        now = server_clock(connection) or self.clock()
        return Machine(self.name, self.proof, beat + self._step(), now)

    def _step(self) -> int:
        return self.randomness.randint(1, STEP)

    def _note_count(self, mine: Machine, began: float) -> None:
        self._row, self._counted_at = mine, began
        self._unconfirmed.clear()


def _put(connection: Connection, seen: Machine | None, mine: Machine) -> bool:
    return (
        insert_machine(connection, mine) if seen is None else update_machine(connection, seen, mine)
    )
