"""Slots: how many attempts may speak to a destination at once.

A fast destination is done with its window before the next iteration can lease more deliveries.
Look-ahead: up to one extra window of deliveries is leased in advance and waits here for a slot,
interactive before bulk.  If the destination is paused or declared dead, or the process stops, the
waiting attempts are released unattempted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from relay.delivery.in_flight import InFlight
from relay.queue.model import Traffic


@dataclass(slots=True)
class DestinationSlots:
    """Gives out slots; `window(domain, traffic)`: number of slots, 0 if no attempt may begin."""

    in_flight: InFlight
    window: Callable[[str, Traffic], int]
    _waiting: dict[str, dict[Traffic, deque[asyncio.Future[bool]]]] = field(default_factory=dict)
    _closed: bool = False

    async def acquire(self, domain: str, traffic: Traffic, *, at_once: bool) -> bool:
        """Wait for a slot (not with `at_once`); False if there will be no slot.

        A slot must be released.
        """
        if not at_once and self.in_flight.slots(domain) >= self.window(domain, traffic):
            return await self._wait(domain, traffic)
        self.in_flight.take_slot(domain)
        return True

    def release(self, domain: str) -> None:
        """Free a slot, for the next waiting attempt."""
        self.in_flight.free_slot(domain)
        self._admit(domain)

    def close(self) -> None:
        """Refuse a slot to all waiting attempts, and to all that would wait later."""
        self._closed = True
        for domain in list(self._waiting):
            self._admit(domain)

    async def _wait(self, domain: str, traffic: Traffic) -> bool:
        slot: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queues = self._waiting.setdefault(domain, {one: deque() for one in Traffic})
        queues[traffic].append(slot)
        self._admit(domain)
        try:
            return await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled() and slot.result():
                self.release(domain)
            raise

    def _admit(self, domain: str) -> None:
        queues = self._waiting.get(domain)
        if queues is None:
            return
        for traffic, slots in queues.items():
            window = 0 if self._closed else self.window(domain, traffic)
            barred = window == 0
            while slots and (barred or self.in_flight.slots(domain) < window):
                slot = slots.popleft()
                if not slot.done():
                    if not barred:
                        self.in_flight.take_slot(domain)
                    slot.set_result(not barred)
        if not any(queues.values()):
            del self._waiting[domain]
