"""Steps towards a mailbox that nobody uses (DOMAIN U1.2)."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.rights.inactivity_ladder import LadderPolicy, LadderStep, UnusedFacts, next_step
from tests.support.clock import NOW

POLICY = LadderPolicy()
WARN, SUSPEND, DELETE = LadderStep


def day(number: float) -> datetime:
    return NOW + timedelta(days=number)


@pytest.mark.parametrize(
    ("facts", "step", "due"),
    [
        (UnusedFacts(used_at=NOW), WARN, day(270)),
        (UnusedFacts(used_at=NOW, warnings=1, warned_at=day(270)), WARN, day(330)),
        (UnusedFacts(used_at=NOW, warnings=2, warned_at=day(330)), SUSPEND, day(365)),
        # The daemon was off, or the ladder was switched on late: the others are late too.
        (UnusedFacts(used_at=NOW, warnings=1, warned_at=day(1000)), WARN, day(1060)),
        (UnusedFacts(used_at=NOW, warnings=2, warned_at=day(1060)), SUSPEND, day(1095)),
        (UnusedFacts(used_at=NOW, stopped_at=day(1095)), DELETE, day(1125)),
        (UnusedFacts(used_at=NOW, stopped_at=day(365)), DELETE, day(395)),
        # A person suspended it the day after its last use.
        (UnusedFacts(used_at=NOW, stopped_at=day(1)), DELETE, day(395)),
        # Used since the warnings: they count no more.
        (UnusedFacts(used_at=day(340), warnings=2, warned_at=day(330)), WARN, day(610)),
        (UnusedFacts(used_at=day(330), warnings=2, warned_at=day(330)), WARN, day(600)),
        # Its holder objects.
        (UnusedFacts(used_at=NOW, kept_until=day(500)), WARN, day(500)),
        (UnusedFacts(used_at=NOW, kept_until=day(100)), WARN, day(270)),
        (UnusedFacts(used_at=NOW, stopped_at=day(365), kept_until=day(500)), DELETE, day(500)),
        # More warnings than there are now: the configuration has fewer.
        (UnusedFacts(used_at=NOW, warnings=5, warned_at=day(350)), SUSPEND, day(385)),
    ],
)
def test_each_step_is_due_at_its_time(facts: UnusedFacts, step: LadderStep, due: datetime) -> None:
    found = next_step(POLICY, facts)
    assert (found.step, found.due) == (step, due)


@given(
    st.lists(st.integers(1, 900), min_size=3, max_size=6, unique=True).map(sorted),
    st.lists(st.integers(0, 400), min_size=8, max_size=8),
)
def test_nobody_is_suspended_without_all_warnings_in_their_distance(
    days: list[int], delays: list[int]
) -> None:
    """However late each round of the daemon comes."""
    policy = LadderPolicy(days[:-2], days[-2], days[-1])
    facts, times = UnusedFacts(used_at=NOW), list[datetime]()
    for delay in delays:
        found = next_step(policy, facts)
        if found.step is LadderStep.DELETE:
            break
        at = found.due + timedelta(days=delay)
        promised = facts.suspension_after(policy, at)
        times.append(at)
        if found.step is LadderStep.WARN:
            facts = UnusedFacts(used_at=NOW, warnings=facts.warnings + 1, warned_at=at)
            # A warning never names a day after which it is too late.
            assert next_step(policy, facts).due <= promised
        else:
            facts = UnusedFacts(used_at=NOW, stopped_at=at)
    assert len(times) == len(days) - 1
    for index, at in enumerate(times):
        assert at >= NOW + timedelta(days=days[index])
        if index:
            assert at - times[index - 1] >= timedelta(days=days[index] - days[index - 1])
    assert next_step(policy, facts).due - times[-1] >= timedelta(days=days[-1] - days[-2])
