"""Attempts in flight: the one register of them.  Pure.

An attempt is in flight from the commit of its lease until its task has ended.  Free slots, waiting
attempts, the watchdog and the renewal of leases all go by this register.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from relay.queue.model import LEASE, Claim, Lease, Traffic
from relay.smtp.failure_reason import FailureReason

ANSWER: Final = "answer"  # phase: the message is sent, and its fate is the peer's to say
MARGIN_SECONDS: Final = 60.0  # before the end of its lease an attempt that goes on is broken off


@dataclass(slots=True)
class Progress:
    """How far an attempt has come, for the watchdog; `moved` is in seconds of `monotonic`.

    `sealed` is the body, if it is small and at hand.
    """

    session: str
    phase: str = "route"
    sealed: bytes | None = None
    monotonic: Callable[[], float] = time.monotonic
    moved: float = field(init=False)

    def __post_init__(self) -> None:
        self.moved = self.monotonic()

    def step(self, phase: str) -> None:
        """Note that it goes on."""
        self.phase = phase
        self.moved = self.monotonic()


@dataclass(slots=True, eq=False)
class DeliveryAttempt:
    """An attempt; `cancel()` ends its task, `broken` says why the watchdog did.

    `leased_until` is in seconds of the monotonic clock; the lease begins with the attempt.
    """

    claim: Claim
    progress: Progress
    cancel: Callable[[], object] = lambda: None
    broken: FailureReason | None = None
    leased_until: float = field(init=False)

    def __post_init__(self) -> None:
        self.leased_until = self.progress.moved + LEASE.total_seconds()

    @property
    def reason(self) -> FailureReason | None:
        """Reason of its result if it was broken off: once sent whole, the peer may have it."""
        return FailureReason.UNKNOWN_OUTCOME if self.progress.phase == ANSWER else self.broken

    def problem(self, now: float, stuck: float) -> FailureReason | None:
        """Why to break it off at this monotonic time, None to let it go on.

        `stuck` is how many seconds it may go without progress.
        """
        if now - self.progress.moved > stuck:
            return FailureReason.STUCK
        # A message sent whole is better waited for: an abort would only make a duplicate certain.
        if now > self.leased_until - MARGIN_SECONDS and self.progress.phase != ANSWER:
            return FailureReason.LEASE
        return None


class InFlight:
    """Register of the attempts in flight, with counts by destination.

    A delivery in flight has a slot while it may speak to its destination; without one it waits.
    """

    def __init__(self) -> None:
        self.bulk = 0  # attempts of bulk traffic
        self._attempts: dict[DeliveryAttempt, None] = {}
        self._count: Counter[str] = Counter()
        self._slots: Counter[str] = Counter()

    def __len__(self) -> int:
        """Number of attempts."""
        return len(self._attempts)

    def __iter__(self) -> Iterator[DeliveryAttempt]:
        """The attempts, oldest first, as they are now."""
        return iter(tuple(self._attempts))

    def to(self, domain: str) -> int:
        """Number of attempts to a destination, with a slot or without."""
        return self._count[domain]

    def slots(self, domain: str) -> int:
        """Number of slots of a destination that are taken."""
        return self._slots[domain]

    def begin(self, attempt: DeliveryAttempt) -> None:
        """Register an attempt."""
        self._attempts[attempt] = None
        self._count[attempt.claim.domain] += 1
        self.bulk += attempt.claim.traffic is Traffic.BULK

    def end(self, attempt: DeliveryAttempt) -> None:
        """Remove an attempt that has ended."""
        del self._attempts[attempt]
        _decrease(self._count, attempt.claim.domain)
        self.bulk -= attempt.claim.traffic is Traffic.BULK

    def take_slot(self, domain: str) -> None:
        """Count a slot as taken."""
        self._slots[domain] += 1

    def free_slot(self, domain: str) -> None:
        """Count a slot as free again."""
        _decrease(self._slots, domain)

    def renewals(self, now: float) -> list[Lease]:
        """Leases that are half over at this monotonic time."""
        half = now + LEASE.total_seconds() / 2
        return [one.claim.lease for one in self._attempts if one.leased_until < half]

    def renewed(self, leases: Collection[Lease], now: float) -> None:
        """Note that these leases begin anew.  A lease that is gone comes to its end."""
        if leases:
            until = now + LEASE.total_seconds()
            for one in self._attempts:
                if one.claim.lease in leases:
                    one.leased_until = until


def _decrease(counts: Counter[str], domain: str) -> None:
    counts[domain] -= 1
    if not counts[domain]:
        del counts[domain]
