"""Lost information: each process publishes its own losses, the maintenance process adds them up.

Writes that fail, to the log, the journal or the metric files, are counted on the spot, without a
lock or a call that could fail.  This module makes metrics of the counts.  The sum over all
processes is an alarm and a part of /readyz.
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

PUBLISH_SECONDS: Final = 2.0  # between two updates of the metrics of a process
STANDS_SECONDS: Final = 3600.0  # duration of the alarm after the last loss
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
_FILES: Final = ("counter_*.db", "gauge_livemax_*.db")  # metric files that hold these metrics


@dataclass(slots=True)
class LossPublisher:
    """Publishes the losses of this process as metrics."""

    journal: Journal
    log: LogWriter | None = field(
        default_factory=lambda: sys.stderr if isinstance(sys.stderr, LogWriter) else None
    )
    _lines: int = 0
    _events: int = 0
    _strangers: int = 0

    async def run(self) -> None:
        """Publish every PUBLISH_SECONDS until cancelled."""
        for of in ("peer", "stranger"):
            JOURNAL_LOST.labels(of)  # starts at 0, so that the first loss shows as an increase
        while True:
            with best_effort:
                self.publish()
            await asyncio.sleep(PUBLISH_SECONDS)

    def publish(self) -> None:
        """Add the losses since the last call."""
        journal, log = self.journal, self.log
        events, strangers = journal.lost_events, journal.lost_stranger_events
        JOURNAL_LOST.labels("peer").inc(events - self._events)
        JOURNAL_LOST.labels("stranger").inc(strangers - self._strangers)
        self._events, self._strangers = events, strangers
        LOSING.labels(JOURNAL).set(journal.failing)
        if log is not None:
            lines = log.lost_lines
            LOG_LOST.inc(lines - self._lines)
            self._lines = lines
            LOSING.labels(LOG).set(log.failing)
        LOSING.labels(METRIC_FILES).set(bool(MetricFile.without_file))


_TEXTS: Final = {
    LOG: "log lines lost or late: standard error is blocked (no reader, or a disk that is full or "
    "does not answer); mail goes on",
    JOURNAL: "events lost in the trace journal: its disk is nearly full, faulty or too slow; mail "
    "goes on",
    METRIC_FILES: "metrics without files: the disk of storage.directory refuses them; mail goes on",
}


@dataclass(slots=True)
class Losses:
    """Losses of all processes of the daemon, read from their metric files.  `clock` in seconds."""

    clock: Callable[[], float] = time.monotonic
    _totals: dict[str, float] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)  # when the alarm of a kind ends

    def standing(self) -> dict[str, str]:
        """Kind of information to the text of its alarm.  Blocks.

        A kind is listed while it is lost and for STANDS_SECONDS afterwards.  Losses before the
        first call do not count.
        """
        now = self.clock()
        with best_effort:
            for kind, failing, total in _found():
                # At the first call the age of earlier losses is unknown, so they do not count.
                if failing or total > self._totals.get(kind, total):
                    self._until[kind] = now + STANDS_SECONDS
                self._totals[kind] = total
        if MetricFile.without_file:
            self._until[METRIC_FILES] = now + STANDS_SECONDS
        return {kind: text for kind, text in _TEXTS.items() if now < self._until.get(kind, now)}


def _found() -> Iterable[tuple[str, bool, float]]:
    """For each kind: name, whether a process fails to write it now, total number lost."""
    failing, totals = dict.fromkeys(_TEXTS, False), dict.fromkeys(_TEXTS, 0.0)
    folder = os.environ.get(METRICS)
    if not folder:
        return []
    files = [str(path) for name in _FILES for path in Path(folder).glob(name)]
    for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]  # prometheus_client
        for sample in metric.samples:
            if sample.name == "mssante_information_failing" and sample.value:
                failing[sample.labels["kind"]] = True
            elif sample.name == "mssante_log_lines_lost_total":
                totals[LOG] += sample.value
            elif sample.name == "mssante_journal_events_lost_total":
                totals[JOURNAL] += sample.value
    return [(kind, failing[kind], totals[kind]) for kind in _TEXTS]
