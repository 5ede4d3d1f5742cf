"""Result of an attempt: groups of recipients, and DSNs due to their senders."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.queue.attempt_result import AttemptResult, attempt_result
from relay.queue.retry import RetryPolicy
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.delivery.claims import CLAIM

HOUR = timedelta(hours=1)
X, Y, Z = EnvelopeRecipient("x@b"), EnvelopeRecipient("y@b"), EnvelopeRecipient("z@b")
OUTCOMES = {
    "x@b": Outcome(State.DELIVERED, "250 ok"),
    "y@b": Outcome(State.FAILED, "550 no"),
    "z@b": Outcome(State.WAITING, "450 later"),
}


def at(age: timedelta, *, told: bool = False) -> AttemptResult:
    claim = replace(CLAIM, waiting=(X, Y, Z), delay_told=told)
    return attempt_result(
        claim, OUTCOMES, error="", reason=None, now=NOW + age, policy=RetryPolicy()
    )


@pytest.mark.parametrize(
    ("age", "expired", "late"),
    [
        (timedelta(0), (), ()),
        (4 * HOUR - timedelta(seconds=1), (), ()),
        (4 * HOUR, (), (Z,)),
        (120 * HOUR - timedelta(seconds=1), (), (Z,)),
        (120 * HOUR, (Z,), ()),  # failed or expired: no delay report as well
    ],
)
def test_who_waits_is_late_after_four_hours_and_expired_after_five_days(
    age: timedelta, expired: tuple[EnvelopeRecipient, ...], late: tuple[EnvelopeRecipient, ...]
) -> None:
    found = at(age)
    assert (found.delivered, found.failed) == ((X,), (Y,))
    assert (found.expired, found.late) == (expired, late)


@pytest.mark.parametrize(
    ("recipients", "age", "state"),
    [
        ((X,), timedelta(0), State.DELIVERED),
        ((X, Y), timedelta(0), State.FAILED),
        ((X, Y, Z), timedelta(0), State.WAITING),
        ((Z,), 120 * HOUR - timedelta(seconds=1), State.WAITING),
        ((X, Z), 120 * HOUR, State.FAILED),
        ((X,), 120 * HOUR, State.DELIVERED),
    ],
)
def test_the_state_is_that_of_the_worst_recipient(
    recipients: tuple[EnvelopeRecipient, ...], age: timedelta, state: State
) -> None:
    claim = replace(CLAIM, waiting=recipients)
    found = attempt_result(
        claim, OUTCOMES, error="", reason=None, now=NOW + age, policy=RetryPolicy()
    )
    assert found.state is state


def test_nobody_is_told_twice_that_it_is_late() -> None:
    assert at(5 * HOUR, told=True).late == ()


def test_without_an_answer_all_wait() -> None:
    claim = replace(CLAIM, waiting=(X, Y))
    found = attempt_result(
        claim,
        {},
        error="down",
        reason=FailureReason.CONNECTION,
        now=NOW + 5 * HOUR,
        policy=RetryPolicy(),
    )
    assert (found.delivered, found.failed, found.late) == ((), (), (X, Y))
