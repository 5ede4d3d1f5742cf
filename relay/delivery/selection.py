"""Which deliveries a courier takes on: of what it knows to be due, as destinations have places.

Ties together where to look (`relay.delivery.rounds`), what is known (`relay.delivery.ready_queue`)
and how destinations take it (`relay.delivery.concurrency`).  Asks nobody: it is told what a look
brought.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from relay.delivery.concurrency import Congestion
from relay.delivery.ready_queue import MOST, Scheduler
from relay.delivery.rounds import Feeding
from relay.queue.model import Due, Newest, QueueSnapshot, Traffic, Visit


class Picking:
    """Picks for a courier that has at most `concurrency` deliveries in hand."""

    def __init__(
        self, congestion: Congestion, concurrency: int, clock: Callable[[], datetime]
    ) -> None:
        self._congestion = congestion
        self._most_bulk = max(concurrency * 3 // 4, 1)
        self._clock = clock
        self._scheduler = Scheduler()
        self._newest: frozenset[int] = frozenset()  # at the last look
        self.feeding = Feeding()

    def take(self, picked: list[Due], room: int, *, ahead: bool = False) -> list[Due]:
        """What is picked, and what else to take on: `room` in all, `ahead` beyond the windows."""
        now, used = self._clock(), Counter(due.domain for due in picked)
        bulk = self._congestion.bulk + sum(due.traffic is Traffic.BULK for due in picked)

        def places(due: Due) -> int:
            free = self._congestion.places(due.domain, due.traffic, now, ahead=ahead)
            return free - used[due.domain]

        return picked + self._scheduler.take(room - len(picked), self._most_bulk - bulk, places)

    def visits(self) -> list[Visit]:
        """Where to look now: at destinations that could take more than is known for them."""
        now = self._clock()

        def wanted(traffic: Traffic, domain: str) -> bool:
            places = self._congestion.places(domain, traffic, now, ahead=True)
            return places > self._scheduler.stock(traffic, domain)

        return self.feeding.visits(wanted)

    def learn(self, seen: QueueSnapshot) -> None:
        """Take note of what a look brought."""
        now = self._clock()
        if seen.known is not None:
            self._look_again(seen.newest, self._congestion.adopt(seen.known))

        def is_open(due: Due) -> bool:
            return self._congestion.places(due.domain, due.traffic, now, ahead=True) > 0

        if len(self._scheduler) > MOST // 2:
            self._scheduler.forget(lambda due: not is_open(due))
        news = self._scheduler.offer(filter(is_open, seen.found))
        # Also for what is busy: a place may be free before mail that has just come is seen again.
        self._scheduler.offer(
            due for due in seen.newest.found if not self._congestion.barred(due.domain, now)
        )
        for visit, last in seen.visited.items():
            self.feeding.visited(visit, last)
        self.feeding.learned(seen.lanes, news)

    def _look_again(self, newest: Newest, released: frozenset[str]) -> None:
        """Have a round begin if more may go than the newest: it must not wait for the next poll."""
        # None of what was there at the last look: more has become due since than was looked at.
        missed = newest.full and not newest.numbers & self._newest
        self._newest = newest.numbers
        for domain in released:
            self.feeding.freed(domain)
        if released or missed:
            self.feeding.begin()
