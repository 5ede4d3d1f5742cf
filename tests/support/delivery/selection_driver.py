"""A selection of deliveries without a queue, and mail for it."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from relay.delivery.concurrency import ConcurrencyLimits
from relay.delivery.in_flight import DeliveryAttempt, InFlight, Progress
from relay.delivery.selection import NeedsRead, Selected, Selection
from relay.delivery.window import WindowPolicy
from relay.queue.due import NEWEST
from relay.queue.model import (
    DestinationRow,
    DestinationTable,
    Due,
    Newest,
    QueueSnapshot,
    Traffic,
    Visit,
)
from tests.support.clock import NOW, Monotonic
from tests.support.delivery.claims import CLAIM

PERSON, BULK = Traffic.PERSON, Traffic.BULK
WINDOW = 3
POLL = 2.0
EMPTY = QueueSnapshot(None, Newest(), {}, [], None)


class SelectionDriver:
    """A selection without queue and destinations; its first poll is over."""

    def __init__(self, concurrency: int = 100) -> None:
        self.now = NOW
        self.monotonic = Monotonic()
        self.in_flight = InFlight()
        self.limits = ConcurrencyLimits(
            WindowPolicy(first=WINDOW, largest=8), random.Random(1), self.in_flight
        )
        self.selection = Selection(self.limits, concurrency, POLL, self._clock, self.monotonic)
        self.reads(EMPTY)

    def _clock(self) -> datetime:
        return self.now

    def reads(self, snapshot: QueueSnapshot) -> NeedsRead:
        """Make the selection read the queue with room for none; return the read."""
        self.selection.note_new_mail()
        needs = self.selection.next(0)
        assert isinstance(needs, NeedsRead)
        assert needs.with_newest
        assert self.selection.resume(needs, snapshot, 0).deliveries == []
        return needs

    def sees(
        self, *groups: Iterable[Due], newest: Iterable[Due] = (), paused: Iterable[str] = ()
    ) -> None:
        found = [due for group in groups for due in group]
        last = list(newest)
        numbers = frozenset(due.id for due in last)
        known = DestinationTable(
            {domain: DestinationRow(paused=True) for domain in paused}, all_paused=False
        )
        full = len(last) == NEWEST
        self.reads(QueueSnapshot(known, Newest(last, numbers, full), {}, found, None))

    def goes_round(
        self, domains: Sequence[str], *, bulk: Sequence[str] = (), found: Sequence[Due] = ()
    ) -> None:
        """Begin a round over these destinations."""
        destinations = {PERSON: domains, BULK: bulk}
        self.reads(QueueSnapshot(None, Newest(), {}, found, destinations))

    def visits(self) -> Sequence[Visit]:
        """Return the destinations to read next, [] if there are none; the read returns nothing."""
        needs = self.selection.next(100)
        if isinstance(needs, Selected):
            return []
        self.selection.resume(needs, EMPTY, 0)
        return needs.visits

    def rests(self) -> bool:
        """Whether no read is needed."""
        return isinstance(self.selection.next(100), Selected)

    def takes(self, room: int = 100) -> list[Due]:
        """Return the selected deliveries; a needed read returns nothing."""
        found = self.selection.next(room)
        if isinstance(found, NeedsRead):
            found = self.selection.resume(found, EMPTY, room)
        return list(found.deliveries)

    def begins(self, *dues: Due) -> list[DeliveryAttempt]:
        attempts = [
            DeliveryAttempt(
                replace(CLAIM, id=due.id, domain=due.domain, traffic=due.traffic), Progress("s")
            )
            for due in dues
        ]
        for one in attempts:
            self.in_flight.begin(one)
        return attempts

    def ends(self, attempt: DeliveryAttempt) -> None:
        self.in_flight.end(attempt)
        self.selection.note_end(attempt.claim.domain)


def mail(
    number: int, domain: str, *, traffic: Traffic = PERSON, start: int = 1, fresh: bool = False
) -> list[Due]:
    return [Due(start + n, traffic, domain, f"dr{n}", fresh) for n in range(number)]
