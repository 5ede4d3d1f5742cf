"""Register of the attempts in flight.  Pure.

An attempt is in flight from the commit of its lease to the end of its task.  Free slots, waiting
attempts, watchdog and lease renewal use this single register.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from relay.queue.model import LEASE, Claim, Lease, Traffic
from relay.smtp.failure_reason import FailureReason

ANSWER: Final = "answer"  # phase: the message is sent, the peer's reply is awaited
MARGIN_SECONDS: Final = 60.0  # an attempt is aborted this long before its lease ends


@dataclass(slots=True)
class Progress:
    """Progress of an attempt, for the watchdog; `moved`: last progress, in seconds of `monotonic`.

    `sealed`: the sealed body, if small and already read.
    """

    session: str
    phase: str = "route"
    sealed: bytes | None = None
    monotonic: Callable[[], float] = time.monotonic
    moved: float = field(init=False)

    def __post_init__(self) -> None:
        self.moved = self.monotonic()

    def step(self, phase: str) -> None:
        """Note progress: a phase begins or goes on."""
        self.phase = phase
        self.moved = self.monotonic()


@dataclass(slots=True, eq=False)
class DeliveryAttempt:
    """An attempt; `cancel()` cancels its task; `abort_reason`: why the watchdog aborted it.

    `leased_until`: in seconds of the monotonic clock; the lease begins with the attempt.
    """

    claim: Claim
    progress: Progress
    cancel: Callable[[], object] = lambda: None
    abort_reason: FailureReason | None = None
    leased_until: float = field(init=False)

    def __post_init__(self) -> None:
        self.leased_until = self.progress.moved + LEASE.total_seconds()

    @property
    def reason(self) -> FailureReason | None:
        """Reason of an aborted attempt; after the whole message was sent, the peer may have it."""
        return FailureReason.UNKNOWN_OUTCOME if self.progress.phase == ANSWER else self.abort_reason

    def problem(self, now: float, stuck: float) -> FailureReason | None:
        """Return the reason to abort the attempt at monotonic time `now`; None to let it go on.

        `stuck`: seconds allowed without progress.
        """
        if now - self.progress.moved > stuck:
            return FailureReason.STUCK
        # The whole message was sent: wait for the reply, since an abort makes a duplicate certain.
        if now > self.leased_until - MARGIN_SECONDS and self.progress.phase != ANSWER:
            return FailureReason.LEASE
        return None


class InFlight:
    """Register of the attempts in flight, with counts by destination.

    An attempt needs a slot to speak to its destination; without a slot it waits.
    """

    def __init__(self) -> None:
        self.bulk = 0  # attempts of bulk traffic
        self._attempts: dict[DeliveryAttempt, None] = {}
        self._count: Counter[str] = Counter()
        self._slots: Counter[str] = Counter()

    def __len__(self) -> int:
        """Number of attempts in flight."""
        return len(self._attempts)

    def __iter__(self) -> Iterator[DeliveryAttempt]:
        """Attempts, oldest first; a copy."""
        return iter(tuple(self._attempts))

    def to(self, domain: str) -> int:
        """Number of attempts to a destination, with or without a slot."""
        return self._count[domain]

    def slots(self, domain: str) -> int:
        """Number of slots of a destination in use."""
        return self._slots[domain]

    def begin(self, attempt: DeliveryAttempt) -> None:
        """Register an attempt."""
        self._attempts[attempt] = None
        self._count[attempt.claim.domain] += 1
        self.bulk += attempt.claim.traffic is Traffic.BULK

    def end(self, attempt: DeliveryAttempt) -> None:
        """Remove an ended attempt."""
        del self._attempts[attempt]
        _decrease(self._count, attempt.claim.domain)
        self.bulk -= attempt.claim.traffic is Traffic.BULK

    def take_slot(self, domain: str) -> None:
        """Count a slot as in use."""
        self._slots[domain] += 1

    def free_slot(self, domain: str) -> None:
        """Count a slot as free."""
        _decrease(self._slots, domain)

    def renewals(self, now: float) -> list[Lease]:
        """Leases to renew: half of their time is over at this monotonic time."""
        half = now + LEASE.total_seconds() / 2
        return [one.claim.lease for one in self._attempts if one.leased_until < half]

    def note_renewed(self, leases: Collection[Lease], now: float) -> None:
        """Note that these leases were renewed.

        An attempt whose lease is not among them has lost it: its `leased_until` stays, and the
        watchdog aborts it in time, unless the whole message is sent.
        """
        if leases:
            until = now + LEASE.total_seconds()
            for one in self._attempts:
                if one.claim.lease in leases:
                    one.leased_until = until


def _decrease(counts: Counter[str], domain: str) -> None:
    counts[domain] -= 1
    if not counts[domain]:
        del counts[domain]
