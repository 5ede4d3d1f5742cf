"""Child process as the supervisor sees it: started, restarted, dismissed, ended."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

from foundation.backoff import backoff
from foundation.best_effort import best_effort

from ..assembly.outside_errors import is_outside
from ..errors import Outage
from ..machine.run_directory import METRICS
from ..settings.model import Settings
from . import control_channel
from .control_channel import ProcessReport, ReportReader
from .fork_client import ForkClient
from .heartbeat import Heartbeat
from .lasting_tasks import keep_running
from .silence import Silence
from .start_args import StartArgs, pack
from .subreaper import ChildProcess

_log = structlog.get_logger(__name__)

RESTART_PAUSE: Final = 1.0  # seconds before a dead process is replaced
LONGEST_PAUSE: Final = 30.0  # limit of that backoff, in seconds, if it never becomes ready
READY_SECONDS: Final = 120.0  # timeout of the first report; without it the start has failed
STUCK_SECONDS: Final = 5.0  # after the process's own deadline to exit, until it is killed
_ENDED: Final = "it ended before it was ready; see its log above"


class CannotStart(Exception):
    """Process that does not start; the message gives its role and the reason.

    `own`: the reason lies in this installation, so that another attempt would not help.
    """

    def __init__(self, role: str, problem: str, *, own: bool) -> None:
        super().__init__(f"{role} process cannot start: {problem}")
        self.report = ProcessReport(problem, own)


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """Plan of a process: role, settings, sockets, launcher."""

    role: str
    settings: Settings
    launch: StartArgs
    launcher: ForkClient


@dataclass(slots=True, eq=False)
class Child:
    """Process of the daemon, restarted when it dies.

    `waits`: reason why it does not work; None while it works or is being replaced.
    `changed`: called at each change of `waits`, after `keep`.
    `killed`: called with the role whenever the process is killed because it did not answer.
    """

    plan: ProcessPlan
    changed: Callable[[], None]
    killed: Callable[[str], None] = lambda _: None
    waits: ProcessReport | None = None
    _process: ChildProcess | None = None
    _line: socket.socket | None = None
    _attending: asyncio.Task[None] | None = None
    _keeper: asyncio.Task[None] | None = None
    _ready: bool = False

    async def start(self) -> None:
        """Start the process; wait until it reports that it is ready, or why it waits.

        Raises CannotStart.  Call `end` in that case too.
        """
        role, launch = self.plan.role, self.plan.launch
        self._ready = False
        try:
            async with asyncio.timeout(READY_SECONDS):
                self._process, self._line = await self.plan.launcher.launch(role, launch.sockets)
                reports = ReportReader(self._line)
                await control_channel.send_args(self._line, pack(self.plan.settings, launch))
                report = await reports.next_report()
                if report is None:
                    raise await self._last_problem()
        except TimeoutError as error:
            problem = f"not ready within {READY_SECONDS:.0f} seconds"
            raise CannotStart(role, problem, own=False) from error
        except Outage as error:
            raise CannotStart(role, str(error), own=False) from error
        except OSError as error:
            raise CannotStart(role, str(error), own=not is_outside(error)) from error
        self._hear(report)
        self._attending = asyncio.create_task(self._attend(self._process, self._line, reports))
        self._attending.add_done_callback(partial(_close, self._line))

    async def start_ready(self) -> None:
        """Like `start`, but raises CannotStart also if the process waits."""
        await self.start()
        if self.waits is not None:
            raise CannotStart(self.plan.role, self.waits.problem, own=self.waits.own)

    async def _last_problem(self) -> CannotStart:
        """Error for a process that exited without a report.  After a signal a retry may help."""
        assert self._process is not None  # noqa: S101 - it was started
        code = await self._process.wait()
        problem = f"killed by signal {-code} during its start" if code < 0 else _ENDED
        return CannotStart(self.plan.role, problem, own=code >= 0)

    @property
    def kept(self) -> bool:
        """Whether the process is replaced when it dies."""
        return self._keeper is not None

    def keep(self) -> None:
        """Replace the process whenever it dies, until `dismiss` or `end`."""
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                if self._process is not None:
                    await self._live()
                    failures = 0 if self._ready else failures + 1
                await asyncio.sleep(backoff(failures, RESTART_PAUSE, LONGEST_PAUSE))
                await self.start()
            except CannotStart as error:
                failures += 1
                await self.clear(error)
            except Exception:
                # Any error: a missing process must be replaced.
                _log.exception("process.fault", role=self.plan.role)
                failures += 1
                await asyncio.sleep(RESTART_PAUSE)

    async def _live(self) -> None:
        """Wait until the process has died, and log that."""
        process = self._process
        assert process is not None  # noqa: S101 - it lives
        code = await process.wait()
        _log.error("process.died", role=self.plan.role, pid=process.pid, code=code)
        self._reap(process)

    async def _attend(
        self, process: ChildProcess, line: socket.socket, reports: ReportReader
    ) -> None:
        """Read its reports and run its heartbeat, also while it drains."""
        silence = Silence(self.plan.settings.process.silent_seconds)
        reports.answered = silence.answered
        beat = Heartbeat(
            self.plan.role, process, silence, partial(control_channel.send_ping, line), self.killed
        )
        asking = keep_running(beat.run)
        try:
            while (report := await reports.next_report()) is not None:
                self._hear(report)
            await asking  # EOF but no exit: the process is stuck, so the heartbeat kills it
        finally:
            asking.cancel()

    def _hear(self, report: ProcessReport) -> None:
        self._ready = not report.problem
        self.waits = report if report.problem else None
        if self.kept:
            self.changed()

    async def clear(self, error: CannotStart) -> None:
        """Note why the process did not start; end the rest of the attempt."""
        self._hear(error.report)
        self._hang_up()
        await self.gone()

    def dismiss(self) -> None:
        """Tell the process to take nothing new and to exit: its successor works."""
        self._cancel_keeper()
        if self._line is not None and self._ready:
            control_channel.send_leave(self._line)
        else:
            self._hang_up()

    async def end(self) -> None:
        """Tell the process to exit at once, and wait until it has."""
        self._cancel_keeper()
        self._hang_up()
        await self.gone()

    async def gone(self) -> None:
        """Wait until the process has exited; kill it if it is late."""
        process = self._process
        if process is None:
            return
        # The process has its own deadline; this later deadline is for a stuck process.
        late = self.plan.settings.process.stop_seconds + STUCK_SECONDS
        try:
            async with asyncio.timeout(late):
                await process.wait()
        except TimeoutError:
            _log.error("process.stuck", role=self.plan.role, pid=process.pid)
            process.kill()
            await process.wait()
        self._reap(process)

    def _cancel_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()

    def _hang_up(self) -> None:
        # From here on the process exits by its own deadline, and cannot answer the heartbeat.
        if self._attending is not None:
            self._attending.cancel()
        # The socket itself is closed when its reader has finished.
        if self._line is not None:
            with suppress(OSError):  # the other end is closed
                self._line.shutdown(socket.SHUT_RDWR)

    def _reap(self, process: ChildProcess) -> None:
        if self._process is not process:  # another waiter has done it
            return
        if self._attending is not None:
            self._attending.cancel()  # this also closes the socket
        elif self._line is not None:
            self._line.close()
        self._line = self._attending = None
        # Its live gauges, such as its open sessions, are dropped.
        with best_effort:
            mark_process_dead(  # type: ignore[no-untyped-call]  # prometheus_client
                process.pid, self.plan.launcher.environment[METRICS]
            )
        self._process = None


def _close(line: socket.socket, _task: asyncio.Task[None]) -> None:
    line.close()
