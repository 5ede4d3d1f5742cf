"""A process of the daemon as its supervisor has it: started, kept up, dismissed, ended."""

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
from ..errors import Away
from ..machine.run_directory import METRICS
from ..settings.model import Settings
from . import control_channel
from .control_channel import Report, Reports
from .fork_client import Launcher
from .heartbeat import Heartbeat
from .lasting_tasks import keep
from .silence import Silence
from .start_args import Launch, pack
from .subreaper import Process

_log = structlog.get_logger(__name__)

RESTART_PAUSE: Final = 1.0  # seconds before a dead process is replaced
LONGEST_PAUSE: Final = 30.0  # the same where it did not become ready again and again
READY_SECONDS: Final = 120.0  # for a process to say something, or it is taken not to start
STUCK_SECONDS: Final = 5.0  # beyond its own deadline, after which a process is killed
_ENDED: Final = "it ended before it was ready; its log above says why"


class CannotStart(Exception):
    """A process does not start; the message says which and why.

    `own` if the reason is one of this installation, which another attempt would not change.
    """

    def __init__(self, role: str, problem: str, *, own: bool) -> None:
        super().__init__(f"{role} process cannot start: {problem}")
        self.report = Report(problem, own)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process is to be."""

    role: str
    settings: Settings
    launch: Launch
    launcher: Launcher


@dataclass(slots=True, eq=False)
class Child:
    """One process, and those that take its place when it dies.

    `waits` is why it is not at its work, None if it is, or is just being replaced; `changed` is
    called whenever that is something else, once it is kept.  `killed` is told the role whenever the
    process is killed since it did not answer.
    """

    plan: Plan
    changed: Callable[[], None]
    killed: Callable[[str], None] = lambda _: None
    waits: Report | None = None
    _process: Process | None = None
    _line: socket.socket | None = None
    _attending: asyncio.Task[None] | None = None
    _keeper: asyncio.Task[None] | None = None
    _ready: bool = False

    async def start(self) -> None:
        """Start it, and wait until it is ready or says why it waits.

        Raises CannotStart; `end` it even so.
        """
        role, launch = self.plan.role, self.plan.launch
        self._ready = False
        try:
            async with asyncio.timeout(READY_SECONDS):
                self._process, self._line = await self.plan.launcher.launch(role, launch.sockets)
                reports = Reports(self._line)
                await control_channel.brief(self._line, pack(self.plan.settings, launch))
                report = await reports.following()
                if report is None:
                    raise await self._last_words()
        except TimeoutError as error:
            problem = f"it was not ready within {READY_SECONDS:.0f} seconds"
            raise CannotStart(role, problem, own=False) from error
        except Away as error:
            raise CannotStart(role, str(error), own=False) from error
        except OSError as error:
            raise CannotStart(role, str(error), own=not is_outside(error)) from error
        self._hear(report)
        self._attending = asyncio.create_task(self._attend(self._process, self._line, reports))
        self._attending.add_done_callback(partial(_close, self._line))

    async def start_ready(self) -> None:
        """As `start`, where one that waits is of no use.  Raises CannotStart."""
        await self.start()
        if self.waits is not None:
            raise CannotStart(self.plan.role, self.waits.problem, own=self.waits.own)

    async def _last_words(self) -> CannotStart:
        """Why it ended without a word; one that was killed may have more luck the next time."""
        assert self._process is not None  # noqa: S101 - it was started
        code = await self._process.wait()
        problem = f"signal {-code} killed it as it started" if code < 0 else _ENDED
        return CannotStart(self.plan.role, problem, own=code >= 0)

    @property
    def kept(self) -> bool:
        """Whether it is replaced when it dies."""
        return self._keeper is not None

    def keep(self) -> None:
        """Replace it whenever it dies, until it is dismissed or ended."""
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
                # Whatever it was, a process that is missing must be replaced.
                _log.exception("process.fault", role=self.plan.role)
                failures += 1
                await asyncio.sleep(RESTART_PAUSE)

    async def _live(self) -> None:
        """Wait until it has ended."""
        process = self._process
        assert process is not None  # noqa: S101 - it lives
        code = await process.wait()
        _log.error("process.died", role=self.plan.role, pid=process.pid, code=code)
        self._bury(process)

    async def _attend(self, process: Process, line: socket.socket, reports: Reports) -> None:
        """Hear what it says, and ask whether it answers, also while it leaves."""
        silence = Silence(self.plan.settings.process.silent_seconds)
        reports.answered = silence.answered
        beat = Heartbeat(
            self.plan.role, process, silence, partial(control_channel.ask, line), self.killed
        )
        asking = keep(beat.run)
        try:
            while (report := await reports.following()) is not None:
                self._hear(report)
            await asking  # one that has hung up, and does not end, does not answer either
        finally:
            asking.cancel()

    def _hear(self, report: Report) -> None:
        self._ready = not report.problem
        self.waits = report if report.problem else None
        if self.kept:
            self.changed()

    async def clear(self, error: CannotStart) -> None:
        """Note why it did not start, and end what is left of the attempt."""
        self._hear(error.report)
        self._hang_up()
        await self.gone()

    def dismiss(self) -> None:
        """Tell it to take nothing new and end: a successor is at work."""
        self._let_be()
        if self._line is not None and self._ready:
            control_channel.dismiss(self._line)
        else:
            self._hang_up()

    async def end(self) -> None:
        """Tell it to end without losing time, and wait until it has."""
        self._let_be()
        self._hang_up()
        await self.gone()

    async def gone(self) -> None:
        """Wait until it has ended; it is killed where it does not within its time."""
        process = self._process
        if process is None:
            return
        # The process keeps its own deadline; this one is for a process that is stuck.
        late = self.plan.settings.process.stop_seconds + STUCK_SECONDS
        try:
            async with asyncio.timeout(late):
                await process.wait()
        except TimeoutError:
            _log.error("process.stuck", role=self.plan.role, pid=process.pid)
            process.kill()
            await process.wait()
        self._bury(process)

    def _let_be(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()

    def _hang_up(self) -> None:
        # It ends by its own deadline from here on, and cannot answer.
        if self._attending is not None:
            self._attending.cancel()
        # Closed when nobody reads it any more.
        if self._line is not None:
            with suppress(OSError):  # the other end has
                self._line.shutdown(socket.SHUT_RDWR)

    def _bury(self, process: Process) -> None:
        if self._process is not process:  # somebody else who waited for it has
            return
        if self._attending is not None:
            self._attending.cancel()  # its line is closed then
        elif self._line is not None:
            self._line.close()
        self._line = self._attending = None
        # What it measured of itself, such as its open sessions, is no more.
        with best_effort:
            mark_process_dead(  # type: ignore[no-untyped-call]  # prometheus_client
                process.pid, self.plan.launcher.environment[METRICS]
            )
        self._process = None


def _close(line: socket.socket, _task: asyncio.Task[None]) -> None:
    line.close()
