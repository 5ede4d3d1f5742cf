"""Finds mail that no attempt will tell of in time: late without its sender knowing, or over.

Mail for a dead destination is not tried one by one, and a backlog may take longer than a sender
should be left in the dark.  The queue is read on by number, oldest first, a little at each look,
and from the start again once in a while: what was held or leased meanwhile is found then.  Pure.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from relay.ledger import Sweep
from relay.queue_due import Overdue
from relay.retry import RetryPolicy

AGAIN: Final = timedelta(hours=1)


@dataclass(slots=True)
class Sweeping:
    """Two searches: for late mail to all destinations, for mail that is over to dead ones."""

    policy: RetryPolicy
    _after: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    _begun: datetime | None = None

    def sweeps(self, now: datetime, dead: Collection[str]) -> list[Sweep]:
        """What to look for now."""
        if self._begun is None or now >= self._begun + AGAIN:
            self._begun = now
            self._after = {True: 0, False: 0}
        # What is over is for an attempt to tell, or for the other search: a pause gives nothing up.
        ends = now - self.policy.life
        late = Sweep(self._after[True], now - self.policy.delay_warning, ends, None, untold=True)
        if not dead:
            return [late]
        over = Sweep(self._after[False], ends, None, frozenset(dead), untold=False)
        return [late, over]

    def swept(self, found: Mapping[Sweep, Overdue]) -> list[int]:
        """Note what was found; returns the deliveries that are to be settled."""
        keys: dict[int, None] = {}
        for sweep, result in found.items():
            keys.update(dict.fromkeys(result.keys))
            if result.last is not None:
                self._after[sweep.untold] = result.last
        return list(keys)
