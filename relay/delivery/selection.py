"""Selection: which deliveries to try next, or which part of the queue to read first.  Pure.

Combines the rounds over destinations (`relay.delivery.rounds`), the cache of due deliveries
(`relay.delivery.ready_queue`) and the limits of destinations (`relay.delivery.concurrency`).  No
I/O: `next` names the part to read, and `resume` receives the result.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.delivery.concurrency import ConcurrencyLimits
from relay.delivery.ready_queue import MAX_CACHED, ReadyQueue
from relay.delivery.rounds import DestinationRounds
from relay.queue.model import Due, Newest, QueueSnapshot, Traffic, Visit


@dataclass(frozen=True, slots=True)
class Selected:
    """Deliveries to lease and to try.

    `probes`: numbers of deliveries for dead destinations.  `more`: read on in the queue at once.
    """

    deliveries: Sequence[Due] = ()
    probes: frozenset[int] = frozenset()
    more: bool = False


NOTHING: Final = Selected()


@dataclass(frozen=True, slots=True)
class NeedsRead:
    """A read of the queue (`relay.queue.due.read_queue`), needed to find enough deliveries.

    `with_newest`: read the rows of destinations and the newest mail.  `round_due`: read the
    destinations of a new round.  `taken`: deliveries already selected.
    """

    visits: Sequence[Visit]
    round_due: bool
    with_newest: bool
    taken: Sequence[Due]


class Selection:
    """Selects deliveries for a process with at most `concurrency` attempts in flight.

    The queue is read after `note_new_mail()`, and every `poll` seconds of `monotonic`.
    """

    def __init__(
        self,
        limits: ConcurrencyLimits,
        concurrency: int,
        poll: float,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._max_bulk = max(concurrency * 3 // 4, 1)
        self._poll = poll
        self._clock = clock
        self._monotonic = monotonic
        self._ready = ReadyQueue()
        self._rounds = DestinationRounds()
        self._newest: frozenset[int] = frozenset()  # numbers of the newest mail at the last read
        self._has_new_mail = False
        self._polled = float("-inf")

    def note_new_mail(self) -> None:
        """Note a wake-up: the next selection reads the newest mail."""
        self._has_new_mail = True

    def note_end(self, domain: str) -> None:
        """Note the end of an attempt: its destination may be visited again."""
        self._rounds.requeue(domain)

    def next(self, room: int) -> Selected | NeedsRead:
        """Return up to `room` deliveries to try now, or the read needed first."""
        now = self._monotonic()
        with_newest = self._has_new_mail
        if now - self._polled >= self._poll:
            self._polled = now
            self._rounds.begin()
            with_newest = True
        taken: Sequence[Due] = () if with_newest else self._take((), room)
        if not with_newest and (len(taken) >= room or self._rounds.rests):
            return self._selected(taken, room, more=False)
        self._has_new_mail = False
        return NeedsRead(self._visits(), self._rounds.due, with_newest, taken)

    def resume(self, needs: NeedsRead, snapshot: QueueSnapshot, room: int) -> Selected:
        """Return up to `room` deliveries, after the read that `next` asked for."""
        self._learn(snapshot, {due.id for due in needs.taken})
        taken = self._take(needs.taken, room)
        return self._selected(taken, room, more=len(taken) < room and not self._rounds.rests)

    def _selected(self, taken: Sequence[Due], room: int, *, more: bool) -> Selected:
        taken = self._take(taken, room, ahead=True)
        probes = frozenset(due.id for due in taken if self._limits.is_dead(due.domain))
        return Selected(taken, probes, more)

    def _take(self, taken: Sequence[Due], room: int, *, ahead: bool = False) -> Sequence[Due]:
        """Add deliveries to `taken`, up to `room` in all; with `ahead` also for look-ahead."""
        now, used = self._clock(), Counter(due.domain for due in taken)
        bulk = self._limits.in_flight.bulk + sum(due.traffic is Traffic.BULK for due in taken)

        def free_slots(due: Due) -> int:
            free = self._limits.free_slots(due.domain, due.traffic, now, ahead=ahead)
            return free - used[due.domain]

        return [*taken, *self._ready.take(room - len(taken), self._max_bulk - bulk, free_slots)]

    def _visits(self) -> list[Visit]:
        """Next destinations with more free slots than cached deliveries."""
        now = self._clock()

        def wanted(traffic: Traffic, domain: str) -> bool:
            free = self._limits.free_slots(domain, traffic, now, ahead=True)
            return free > self._ready.stock(traffic, domain)

        return self._rounds.visits(wanted)

    def _learn(self, snapshot: QueueSnapshot, taken: Collection[int]) -> None:
        """Cache the deliveries read, except the taken ones: those have no lease yet."""
        now = self._clock()
        if snapshot.known is not None:
            self._look_again(snapshot.newest, self._limits.adopt(snapshot.known))

        def is_open(due: Due) -> bool:
            return self._limits.free_slots(due.domain, due.traffic, now, ahead=True) > 0

        def is_new(due: Due) -> bool:
            return due.id not in taken

        if len(self._ready) > MAX_CACHED // 2:
            self._ready.forget(lambda due: not is_open(due))
        found = list(filter(is_open, snapshot.found))
        # Rows read again because their lease is not committed yet hide the rows behind them: they
        # count as news, so that the round goes on after the commit.
        news = sum(not is_new(due) for due in found) + self._ready.add(filter(is_new, found))
        # Newest mail also for a full window: a slot may be free before the next read.
        self._ready.add(
            due
            for due in filter(is_new, snapshot.newest.found)
            if not self._limits.barred(due.domain, now)
        )
        for visit, last in snapshot.visited.items():
            self._rounds.note_visit(visit, last)
        self._rounds.note_read(snapshot.destinations, news)

    def _look_again(self, newest: Newest, released: frozenset[str]) -> None:
        """Begin a round if the newest mail is not all: older mail must not wait for a poll."""
        # No overlap with the last read: more mail became due in between than this read returned.
        missed = newest.full and not newest.numbers & self._newest
        self._newest = newest.numbers
        for domain in released:
            self._rounds.requeue(domain)
        if released or missed:
            self._rounds.begin()
