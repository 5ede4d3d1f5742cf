"""Attempts that do not go on are ended, and it is said where they were."""

import asyncio

import pytest
from structlog.testing import capture_logs

from relay.delivery.attempt import ANSWER, Progress
from relay.delivery.turn_transaction import LEASE
from relay.delivery.watchdog import Watchdog, Watched
from tests.support.claims import CLAIM
from tests.support.clock import Monotonic

LEASED = LEASE.total_seconds()


@pytest.mark.parametrize(
    ("phase", "after", "problem"),
    [
        ("route", 100, ""),
        ("route", 901, "stuck"),
        (ANSWER, 901, "stuck"),
    ],
)
def test_no_progress_is_a_problem(phase: str, after: float, problem: str) -> None:
    one = Watched(CLAIM, Progress("s", phase))
    assert one.problem(one.progress.moved + after, 900) == problem


def test_a_lost_lease_is_a_problem_unless_the_message_is_sent() -> None:
    one = Watched(CLAIM, Progress("s", "message"))
    assert one.problem(one.leased_until, 1e9) == "lease"
    one.progress.step(ANSWER)
    assert one.problem(one.leased_until, 1e9) == ""


async def test_a_stuck_attempt_is_told_once_with_phase_and_session_and_ended() -> None:
    clock = Monotonic()
    watchdog = Watchdog(900, clock)
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(3600))
    progress = Progress("s1", monotonic=clock)
    progress.step("host mx.b")
    watchdog.begin(task, Watched(CLAIM, progress))
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
    await asyncio.sleep(0)
    assert watchdog.renewals() == []


async def test_leases_are_renewed_when_half_of_them_is_over() -> None:
    clock = Monotonic()
    watchdog = Watchdog(1e9, clock)
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(3600))
    watchdog.begin(task, Watched(CLAIM, Progress("s", monotonic=clock)))
    for _ in range(3):
        clock.now += LEASED / 2
        assert watchdog.renewals() == []
        clock.now += 1
        assert watchdog.renewals() == [CLAIM.lease]
        watchdog.renewed([CLAIM.lease])
        assert watchdog.renewals() == []
        watchdog.look()
        assert task.cancelling() == 0
    task.cancel()
    await asyncio.wait([task])
