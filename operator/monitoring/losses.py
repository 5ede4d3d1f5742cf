"""Information that was lost: each process tells of its own, the maintenance process sums up.

What cannot be written, to the log, to the journal or to the files of the metrics, is counted where
it happens, without a lock or a call that could fail.  Here the counts become metrics, and those of
all processes an alarm and a part of /readyz.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector

from foundation.best_effort import best_effort
from foundation.journal.writer import Journal
from foundation.metric_files import MetricFile

from ..log_writer import LogWriter
from ..machine.run_directory import METRICS

PUBLISH_SECONDS: Final = 2.0  # between two looks at the counts of a process
STANDS_SECONDS: Final = 3600.0  # for which a loss is told of after the last one
LOG, JOURNAL, METRIC_FILES = "log", "journal", "metrics"

LOG_LOST: Final = Counter("mssante_log_lines_lost", "Lines that standard error did not take")
JOURNAL_LOST: Final = Counter(
    "mssante_journal_events_lost",
    "Events that the trace journal did not take: peer, stranger",
    ["of"],
)
LOSING: Final = Gauge(
    "mssante_information_failing",
    "Whether a process cannot write, by kind: log, journal, metrics",
    ["kind"],
    multiprocess_mode="livemax",
)
_FILES: Final = ("counter_*.db", "gauge_livemax_*.db")  # that have these


@dataclass(slots=True)
class Publisher:
    """Tells in the metrics what a process lost."""

    journal: Journal
    log: LogWriter | None = field(
        default_factory=lambda: sys.stderr if isinstance(sys.stderr, LogWriter) else None
    )
    _lines: int = 0
    _events: int = 0
    _strangers: int = 0

    async def run(self) -> None:
        """Tell now, and again and again; until cancelled."""
        for of in ("peer", "stranger"):
            JOURNAL_LOST.labels(of)  # from 0 on: the first loss is to be seen as a rise
        while True:
            with best_effort:
                self.publish()
            await asyncio.sleep(PUBLISH_SECONDS)

    def publish(self) -> None:
        """Add what was lost since the last time."""
        journal, log = self.journal, self.log
        events, strangers = journal.lost, journal.strangers_lost
        JOURNAL_LOST.labels("peer").inc(events - self._events)
        JOURNAL_LOST.labels("stranger").inc(strangers - self._strangers)
        self._events, self._strangers = events, strangers
        LOSING.labels(JOURNAL).set(journal.failing)
        if log is not None:
            lines = log.lost
            LOG_LOST.inc(lines - self._lines)
            self._lines = lines
            LOSING.labels(LOG).set(log.failing)
        LOSING.labels(METRIC_FILES).set(bool(MetricFile.without_file))


_TEXTS: Final = {
    LOG: "lines of the log are lost or late: standard error does not take them (nobody reads it, "
    "its disk is full or does not answer); mail goes on",
    JOURNAL: "events are missing in the trace journal: its disk is nearly full, refuses them or is "
    "too slow; mail goes on",
    METRIC_FILES: "metrics have no files: the disk of storage.directory refuses them; mail goes on",
}


@dataclass(slots=True)
class Losses:
    """What is being lost in all processes of the daemon, by the files of their metrics."""

    clock: Callable[[], float] = time.monotonic
    _totals: dict[str, float] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)  # when the alarm of a kind ends

    def standing(self) -> dict[str, str]:
        """What is lost, or was within STANDS_SECONDS and since the first call, by kind; blocks."""
        now = self.clock()
        with best_effort:
            for kind, failing, total in _found():
                # A process that has just begun does not know when all that was lost.
                if failing or total > self._totals.get(kind, total):
                    self._until[kind] = now + STANDS_SECONDS
                self._totals[kind] = total
        if MetricFile.without_file:
            self._until[METRIC_FILES] = now + STANDS_SECONDS
        return {kind: text for kind, text in _TEXTS.items() if now < self._until.get(kind, now)}


def _found() -> Iterable[tuple[str, bool, float]]:
    """Of each kind whether a process fails to write it, and how much all have lost."""
    failing, lost = dict.fromkeys(_TEXTS, False), dict.fromkeys(_TEXTS, 0.0)
    folder = os.environ.get(METRICS)
    if not folder:
        return []
    files = [str(path) for name in _FILES for path in Path(folder).glob(name)]
    for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]  # prometheus_client
        for sample in metric.samples:
            if sample.name == "mssante_information_failing" and sample.value:
                failing[sample.labels["kind"]] = True
            elif sample.name == "mssante_log_lines_lost_total":
                lost[LOG] += sample.value
            elif sample.name == "mssante_journal_events_lost_total":
                lost[JOURNAL] += sample.value
    return [(kind, failing[kind], lost[kind]) for kind in _TEXTS]
