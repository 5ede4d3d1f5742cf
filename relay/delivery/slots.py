"""Who speaks to a destination now, of those that were taken on for it.

A destination that answers fast is done with its window of deliveries before the courier's next turn
can claim others.  So a second window of them is taken on ahead, whose attempts wait here, those of
people before those of programs, until one that speaks is done.  Where the destination may get
nothing any more, or the courier stops, they are sent away: no attempt was made.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from relay.queue.model import Traffic


@dataclass(slots=True)
class Gate:
    """Counts who speaks; `width(domain, traffic)` is how many may, none where it is barred."""

    width: Callable[[str, Traffic], int]
    _speaking: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, dict[Traffic, deque[asyncio.Future[bool]]]] = field(default_factory=dict)
    _closed: bool = False

    async def enter(self, domain: str, traffic: Traffic, *, at_once: bool) -> bool:
        """Wait for a place, unless `at_once`; False if there is none to be had.

        Who got one has to leave.
        """
        if not at_once and self._speaking[domain] >= self.width(domain, traffic):
            return await self._wait(domain, traffic)
        self._speaking[domain] += 1
        return True

    def leave(self, domain: str) -> None:
        """Give the place to whoever waits."""
        self._speaking[domain] -= 1
        self._admit(domain)
        if not self._speaking[domain]:
            del self._speaking[domain]

    def close(self) -> None:
        """Send away whoever waits, and whoever would."""
        self._closed = True
        for domain in list(self._waiting):
            self._admit(domain)

    async def _wait(self, domain: str, traffic: Traffic) -> bool:
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lanes = self._waiting.setdefault(domain, {one: deque() for one in Traffic})
        lanes[traffic].append(place)
        self._admit(domain)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave(domain)
            raise

    def _admit(self, domain: str) -> None:
        for traffic, places in self._waiting.get(domain, {}).items():
            width = 0 if self._closed else self.width(domain, traffic)
            while places and (not width or self._speaking[domain] < width):
                place = places.popleft()
                if not place.done():
                    self._speaking[domain] += bool(width)
                    place.set_result(bool(width))
        if not any(self._waiting.get(domain, {}).values()):
            self._waiting.pop(domain, None)
