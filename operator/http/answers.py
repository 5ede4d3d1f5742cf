"""Answers of the admin HTTP: from the monitor, or the reason why it has not started yet."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from foundation.detached_threads import run_detached, wait_within

from ..machine.run_directory import RunFolder
from ..monitoring.alarms import AlarmName
from ..monitoring.collector import Monitor, waiting_problems

ANSWER_SECONDS: Final = 8.0  # timeout in seconds of an answer; clients usually wait ten

_T = TypeVar("_T")


@dataclass(slots=True)
class SharedCall(Generic[_T]):
    """Answer shared by all requests that come while it is made: many cost no more than one."""

    make: Callable[[], _T]
    _making: asyncio.Future[_T] | None = None

    async def get(self) -> _T:
        """The answer.  Raises TimeoutError after PATIENCE seconds."""
        if self._making is None or self._making.done():
            self._making = run_detached(self.make, "answer")
        return await wait_within(ANSWER_SECONDS, self._making)


@dataclass(slots=True, eq=False)  # a registry keeps collectors by identity
class HealthService:
    """Answers within a bounded time; also a collector for prometheus_client."""

    run_folder: RunFolder
    monitor: Monitor | None = None
    _why: str = "starting"
    _judged: SharedCall[tuple[list[str], list[str]]] = field(init=False)

    def __post_init__(self) -> None:
        self._judged = SharedCall(self._judge)

    def wait(self, why: str) -> None:
        """Set the reason why the process waits."""
        self._why = why

    async def readiness(self) -> dict[str, Any]:
        """Body of /readyz; comes in time even if a check hangs."""
        try:
            problems, warnings = await self._judged.get()
        except TimeoutError:
            problems, warnings = [f"readiness: no result within {ANSWER_SECONDS:g} s"], []
        return {
            "ready": not problems,
            "problems": problems,
            "warnings": warnings,
            "white_list": self.freshness,
        }

    @property
    def freshness(self) -> str:
        """Freshness of the white list; `unknown` before the start."""
        return self.monitor.trust_state.snapshot.freshness.value if self.monitor else "unknown"

    def _judge(self) -> tuple[list[str], list[str]]:
        if self.monitor is not None:
            return self.monitor.problems(), self.monitor.warnings()
        return self._unstarted(), []

    def _unstarted(self) -> list[str]:
        told = waiting_problems(self.run_folder.waiting())
        own = f"maintenance: {self._why}"
        return told if own in told else [own, *told]

    def collect(self) -> Iterable[Metric]:
        """Counters of the supervisor, and all gauges; before the start only `process-waits`."""
        yield _silent(self.run_folder)
        if self.monitor is not None:
            yield from self.monitor.collect()
            return
        alarm = GaugeMetricFamily(
            "mssante_alarm",
            "Whether an alarm stands; docs/whitelist.md explains each",
            labels=["name"],
        )
        alarm.add_metric([AlarmName.PROCESS_WAITS.value], 1)
        yield alarm


def _silent(run_folder: RunFolder) -> Metric:
    # Read from a file: the supervisor writes no metric files of prometheus_client.
    family = CounterMetricFamily(
        "mssante_processes_silent",
        "Processes that did not answer the supervisor and were killed, by role",
        labels=["role"],
    )
    for role, number in run_folder.silent().items():
        family.add_metric([role], number)
    return family
