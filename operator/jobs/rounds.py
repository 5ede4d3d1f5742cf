"""Outcome of the rounds of jobs, for the metric and the alarm: a job that fails must be seen.

A job runs each round in `JobRounds.watch`: an error is logged, counted and kept as the reason of
the alarm `job-failing` until a round succeeds, and the next round runs.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter

from mailstore.errors import MailstoreError

_log = structlog.get_logger(__name__)

AGAIN_SECONDS: Final = 600.0  # longest pause after a round that failed

ROUNDS: Final = Counter(
    "mssante_job_rounds", "Rounds of the jobs of maintenance: done, failed", ["job", "outcome"]
)


@dataclass(slots=True)
class JobRounds:
    """Jobs whose last round failed, with the reason.  May be read from any thread."""

    failing: dict[str, str] = field(default_factory=dict)

    async def repeat(
        self, job: str, event: str, work: Callable[[], object], interval: float
    ) -> None:
        """Run `work` in a thread every `interval` seconds, sooner after an error, until cancelled.

        `event`: name of the log line of an error.
        """
        self.begin(job)
        while True:
            with self.watch(job, event):
                await asyncio.to_thread(work)
            await asyncio.sleep(self.pause(job, interval))

    def begin(self, job: str) -> None:
        """Start both counts of a job at 0, so that its first failure shows as an increase."""
        for outcome in ("done", "failed"):
            ROUNDS.labels(job, outcome)

    @contextmanager
    def watch(self, job: str, event: str) -> Iterator[None]:
        """Run a round.  An error is logged as `event`, and does not leave this block."""
        try:
            yield
        except Exception as error:
            # Any error: the next round must run, or nobody ever does the job again.
            known = isinstance(error, MailstoreError)
            if known:
                _log.error(event, detail=str(error))
            else:
                _log.exception(event)
            ROUNDS.labels(job, "failed").inc()
            # Of an unforeseen error no more than its kind: its text may hold anything.
            self.failing[job] = str(error) if known else type(error).__name__
        else:
            ROUNDS.labels(job, "done").inc()
            self.failing.pop(job, None)

    def pause(self, job: str, interval: float) -> float:
        """Seconds until the next round: `interval`, less after a failure."""
        return min(interval, AGAIN_SECONDS) if job in self.failing else interval
