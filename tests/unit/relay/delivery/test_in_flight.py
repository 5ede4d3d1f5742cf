"""Register of attempts in flight: agrees with a plain list, after any sequence of calls."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.delivery.in_flight import DeliveryAttempt, InFlight, Progress
from relay.queue.model import LEASE, Lease, Traffic
from tests.support.clock import Monotonic
from tests.support.delivery.claims import CLAIM

LEASED = LEASE.total_seconds()
DOMAINS = "ab"


def attempt(
    number: int, clock: Monotonic, domain: str = "b", traffic: Traffic = Traffic.PERSON
) -> DeliveryAttempt:
    claim = replace(CLAIM, id=number, token=f"{number:032x}", domain=domain, traffic=traffic)
    return DeliveryAttempt(claim, Progress("s", monotonic=clock))


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Monotonic()
        self.register = InFlight()
        self.model: dict[Lease, DeliveryAttempt] = {}
        self.until: dict[Lease, float] = {}
        self.slots: list[str] = []
        self.number = 0

    @rule(domain=st.sampled_from(DOMAINS), traffic=st.sampled_from(Traffic), again=st.booleans())
    def one_begins(self, domain: str, traffic: Traffic, *, again: bool) -> None:
        self.number += not again or not self.number
        one = attempt(self.number, self.clock, domain, traffic)
        if again:  # after a fail-over numbers are given again, never tokens
            one.claim = replace(one.claim, token=f"{len(self.until):x}-{self.number}")
        if one.claim.lease in self.until:
            return
        self.register.begin(one)
        self.model[one.claim.lease] = one
        self.until[one.claim.lease] = self.clock.now + LEASED

    @precondition(lambda self: self.model)
    @rule(which=st.integers(0, 99))
    def one_ends(self, which: int) -> None:
        lease = list(self.model)[which % len(self.model)]
        self.register.end(self.model.pop(lease))

    @rule(domain=st.sampled_from(DOMAINS))
    def a_slot_is_taken(self, domain: str) -> None:
        self.register.take_slot(domain)
        self.slots.append(domain)

    @precondition(lambda self: self.slots)
    @rule()
    def a_slot_is_freed(self) -> None:
        self.register.free_slot(self.slots.pop())

    @rule(seconds=st.sampled_from([1.0, LEASED / 2, LEASED]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(lost=st.integers(0, 3))
    def leases_are_renewed(self, lost: int) -> None:
        now = self.clock.now
        renewals = self.register.renewals(now)
        assert renewals == [one for one in self.model if self.until[one] < now + LEASED / 2]
        kept = set(renewals[lost:])
        self.register.note_renewed(kept, now)
        self.until |= dict.fromkeys(kept, now + LEASED)

    @invariant()
    def it_counts_what_there_is(self) -> None:
        attempts = list(self.model.values())
        assert (list(self.register), len(self.register)) == (attempts, len(attempts))
        for domain in DOMAINS:
            assert self.register.to(domain) == sum(a.claim.domain == domain for a in attempts)
            assert self.register.slots(domain) == self.slots.count(domain)
        assert self.register.bulk == sum(a.claim.traffic is Traffic.BULK for a in attempts)
        assert [one.leased_until for one in attempts] == [self.until[one] for one in self.model]


TestInFlight = Machine.TestCase
TestInFlight.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)


def test_attempts_may_end_while_the_register_is_gone_through() -> None:
    register, clock = InFlight(), Monotonic()
    for number in range(3):
        register.begin(attempt(number, clock))
    for one in register:
        register.end(one)
    assert len(register) == 0
    assert register.to("b") == 0
