"""The journal and log allowance of strangers: at first every event, then some, and a sum.

A stranger is a session without a certificate of the white list.  Strangers cost nothing: each
network address, and all strangers together, have an allowance of events.  Further events are
counted by kind and summed up in one event (docs/decisions/0033-strangers-leave-little.md).  Pure
but for the clock that it is given.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from relay.connection.connection_counts import network

MAX_NETWORKS: Final = 4096  # networks with an allowance of their own; the others share one
MAX_NAMED: Final = 5  # networks named in a sum
MAX_TEXT: Final = 300  # characters of one fact of a stranger's event


@dataclass(frozen=True, slots=True)
class RateAllowance:
    """Events at once, and further events per second."""

    burst: float
    rate: float


OF_ONE: Final = RateAllowance(200, 0.5)  # for each network
OF_ALL: Final = RateAllowance(1000, 5)  # 150 MB a day of journal, and as much of log


@dataclass(slots=True)
class _Bucket:
    allowance: RateAllowance
    level: float
    at: float

    def refill(self, now: float) -> float:
        allowed = self.allowance
        self.level = min(allowed.burst, self.level + (now - self.at) * allowed.rate)
        self.at = now
        return self.level


class Strangers:
    """The allowances of one process; `clock` gives seconds that only grow."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        of_one: RateAllowance = OF_ONE,
        of_all: RateAllowance = OF_ALL,
    ) -> None:
        self._clock = clock
        self._of_one = of_one
        self._all = _Bucket(of_all, of_all.burst, clock())
        self._networks: dict[str, _Bucket] = {}
        self._more: dict[tuple[str, str], Counter[str]] = {}

    def may_report(self, address: str, event: str, rule: str = "") -> bool:
        """Whether to record an event; if not, it is counted."""
        now, source = self._clock(), network(address)
        bucket = self._networks.get(source)
        if bucket is None and len(self._networks) < MAX_NETWORKS:
            bucket = self._networks[source] = _Bucket(self._of_one, self._of_one.burst, now)
        buckets = [self._all] if bucket is None else [bucket, self._all]
        if all(one.refill(now) >= 1 for one in buckets):
            for one in buckets:
                one.level -= 1
            return True
        counted = self._more.setdefault((event, rule), Counter())
        counted[source if source in self._networks else "others"] += 1
        return False

    def is_known(self, address: str) -> None:
        """Give back the allowance for a session that turned out to be a peer's."""
        bucket = self._networks.get(network(address))
        for one in [self._all] if bucket is None else [bucket, self._all]:
            one.level += 1

    def sum_up(self) -> list[dict[str, object]]:
        """The facts of one event for each kind of events only counted since the last call."""
        more, self._more = self._more, {}
        now = self._clock()
        for source, bucket in list(self._networks.items()):
            if bucket.refill(now) >= bucket.allowance.burst:
                del self._networks[source]
        return [
            {
                "of": event,
                "rule": rule,
                "more": counted.total(),
                "text": f"and {counted.total():,} more like it".replace(",", " "),
                "networks": len(counted),
                "most_from": [f"{one} ({n})" for one, n in counted.most_common(MAX_NAMED)],
            }
            for (event, rule), counted in more.items()
        ]


def shortened(facts: Mapping[str, object]) -> dict[str, object]:
    """The facts of a stranger's event, with long texts cut."""
    return {
        name: f"{fact[:MAX_TEXT]}…[cut]" if isinstance(fact, str) and len(fact) > MAX_TEXT else fact
        for name, fact in facts.items()
    }
