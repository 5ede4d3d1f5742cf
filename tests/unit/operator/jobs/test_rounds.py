"""Outcome of the rounds of jobs: counted, logged, and an alarm until one succeeds."""

import asyncio

import pytest
from structlog.testing import capture_logs

from mailstore.errors import StoreUnavailable
from mssante_operator.jobs.rounds import AGAIN_SECONDS, ROUNDS, JobRounds


def fail(error: Exception) -> None:
    raise error


def count(outcome: str) -> float:
    return float(ROUNDS.labels("pruning", outcome)._value.get())


@pytest.mark.parametrize(
    ("error", "reason", "logged"),
    [
        (StoreUnavailable("the database is away"), "the database is away", "detail"),
        # The text of an unforeseen error may hold anything, and goes to the log alone.
        (ValueError("claire.martin@a.mssante.fr"), "ValueError", "exc_info"),
    ],
)
def test_a_failed_round_stands_until_one_succeeds(
    error: Exception, reason: str, logged: str
) -> None:
    rounds = JobRounds()
    rounds.begin("pruning")
    failed, done = count("failed"), count("done")
    with capture_logs() as logs, rounds.watch("pruning", "trail.unpruned"):
        fail(error)
    assert rounds.failing == {"pruning": reason}
    assert rounds.pause("pruning", 86_400.0) == AGAIN_SECONDS
    assert rounds.pause("pruning", 1.0) == 1.0
    (line,) = logs
    assert (line["event"], line["log_level"], logged in line) == ("trail.unpruned", "error", True)
    with rounds.watch("pruning", "trail.unpruned"):
        pass
    assert rounds.failing == {}
    assert rounds.pause("pruning", 86_400.0) == 86_400.0
    assert (count("failed"), count("done")) == (failed + 1, done + 1)


def test_a_cancelled_round_is_no_failure() -> None:
    rounds = JobRounds()
    with pytest.raises(KeyboardInterrupt), rounds.watch("pruning", "trail.unpruned"):
        raise KeyboardInterrupt
    assert rounds.failing == {}


async def test_a_job_goes_on_after_an_error() -> None:
    rounds, seen, third = JobRounds(), list[str](), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        seen.append(",".join(rounds.failing))
        if len(seen) == 1:
            fail(StoreUnavailable("the database is away"))
        if len(seen) == 3:
            loop.call_soon_threadsafe(third.set)

    job = asyncio.create_task(rounds.repeat("pruning", "trail.unpruned", work, 0.0))
    await asyncio.wait_for(third.wait(), 60)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert seen[:3] == ["", "pruning", ""]
