"""What an attempt means for recipients and their senders."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.queue.attempt_result import Ending, ending
from relay.queue.model import Outcome, State
from relay.queue.retry import RetryPolicy
from relay.smtp.envelope import EnvelopeRecipient
from tests.support.claims import CLAIM
from tests.support.clock import NOW

HOUR = timedelta(hours=1)
X, Y, Z = EnvelopeRecipient("x@b"), EnvelopeRecipient("y@b"), EnvelopeRecipient("z@b")
OUTCOMES = {
    "x@b": Outcome(State.DELIVERED, "250 ok"),
    "y@b": Outcome(State.FAILED, "550 no"),
    "z@b": Outcome(State.WAITING, "450 later"),
}


def at(age: timedelta, *, told: bool = False) -> Ending:
    claim = replace(CLAIM, waiting=(X, Y, Z), delay_told=told)
    return ending(claim, OUTCOMES, error="", reason="", now=NOW + age, policy=RetryPolicy())


@pytest.mark.parametrize(
    ("age", "expired", "late"),
    [
        (timedelta(0), (), ()),
        (4 * HOUR - timedelta(seconds=1), (), ()),
        (4 * HOUR, (), (Z,)),
        (120 * HOUR - timedelta(seconds=1), (), (Z,)),
        (120 * HOUR, (Z,), ()),  # who is told that it failed need not be told that it is late
    ],
)
def test_who_waits_is_late_after_four_hours_and_expired_after_five_days(
    age: timedelta, expired: tuple[EnvelopeRecipient, ...], late: tuple[EnvelopeRecipient, ...]
) -> None:
    found = at(age)
    assert (found.delivered, found.failed) == ((X,), (Y,))
    assert (found.expired, found.late) == (expired, late)


def test_nobody_is_told_twice_that_it_is_late() -> None:
    assert at(5 * HOUR, told=True).late == ()


def test_without_an_answer_all_wait() -> None:
    claim = replace(CLAIM, waiting=(X, Y))
    found = ending(
        claim, {}, error="down", reason="connection", now=NOW + 5 * HOUR, policy=RetryPolicy()
    )
    assert (found.delivered, found.failed, found.late) == ((), (), (X, Y))
