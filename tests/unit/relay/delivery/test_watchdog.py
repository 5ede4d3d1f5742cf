"""Watchdog: aborts attempts without progress, and logs their phase."""

import asyncio

import pytest
from structlog.testing import capture_logs

from relay.delivery.in_flight import ANSWER, DeliveryAttempt, InFlight, Progress
from relay.delivery.watchdog import Watchdog
from relay.queue.model import LEASE
from relay.smtp.failure_reason import FailureReason
from tests.support.clock import Monotonic
from tests.support.delivery.claims import CLAIM

LEASED = LEASE.total_seconds()


@pytest.mark.parametrize(
    ("phase", "after", "problem"),
    [
        ("route", 100, None),
        ("route", 901, FailureReason.STUCK),
        (ANSWER, 901, FailureReason.STUCK),
    ],
)
def test_no_progress_is_a_problem(phase: str, after: float, problem: FailureReason | None) -> None:
    one = DeliveryAttempt(CLAIM, Progress("s", phase))
    assert one.problem(one.progress.moved + after, 900) == problem


def test_a_lost_lease_is_a_problem_unless_the_message_is_sent() -> None:
    one = DeliveryAttempt(CLAIM, Progress("s", "message"))
    assert one.problem(one.leased_until, 1e9) is FailureReason.LEASE
    one.progress.step(ANSWER)
    assert one.problem(one.leased_until, 1e9) is None


async def test_a_stuck_attempt_is_told_once_with_phase_and_session_and_ended() -> None:
    clock = Monotonic()
    in_flight = InFlight()
    watchdog = Watchdog(900, in_flight, clock)
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(3600))
    progress = Progress("s1", monotonic=clock)
    progress.step("host mx.b")
    attempt = DeliveryAttempt(CLAIM, progress, task.cancel)
    in_flight.begin(attempt)
    clock.now += 900
    with capture_logs() as logs:
        watchdog.look()
        assert logs == []
        clock.now += 1
        for _ in range(2):
            watchdog.look()
    await asyncio.wait([task])
    assert task.cancelled()
    (said,) = logs
    assert (said["event"], said["phase"], said["session"], said["reason"]) == (
        "delivery.broken_off", "host mx.b", "s1", "stuck",
    )  # fmt: skip
    assert said["seconds"] == 901
    assert attempt.abort_reason is FailureReason.STUCK


async def test_leases_are_renewed_when_half_of_them_is_over() -> None:
    clock = Monotonic()
    in_flight = InFlight()
    watchdog = Watchdog(1e9, in_flight, clock)
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(3600))
    in_flight.begin(DeliveryAttempt(CLAIM, Progress("s", monotonic=clock), task.cancel))
    for _ in range(3):
        clock.now += LEASED / 2
        assert in_flight.renewals(clock.now) == []
        clock.now += 1
        assert in_flight.renewals(clock.now) == [CLAIM.lease]
        in_flight.note_renewed([CLAIM.lease], clock.now)
        assert in_flight.renewals(clock.now) == []
        watchdog.look()
        assert task.cancelling() == 0
    task.cancel()
    await asyncio.wait([task])
