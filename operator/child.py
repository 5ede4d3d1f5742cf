"""A process of the daemon as its supervisor has it: started, kept up, dismissed, ended."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

from relay.best_effort import best_effort

from . import lifeline
from .launch import Launch, pack
from .launcher import Launcher
from .reaping import Process
from .run_folder import METRICS
from .settings import Settings

_log = structlog.get_logger(__name__)

RESTART_PAUSE: Final = 1.0  # seconds before a dead process is replaced
ATTEMPTS: Final = 5  # to replace a process that is killed again and again as it starts
READY_SECONDS: Final = 120.0  # for a process to become ready, or it is taken not to start
STUCK_SECONDS: Final = 5.0  # beyond its own deadline, after which a process is killed
_ENDED: Final = "it ended before it was ready; its log above says why"


class CannotStart(Exception):
    """A process does not become ready; the message says which and why."""


class Killed(CannotStart):
    """It was killed before it could say anything; the next one may have more luck."""


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

    `give_up` is told why, once one that died cannot start again.
    """

    plan: Plan
    give_up: Callable[[Exception], None]
    _process: Process | None = None
    _line: socket.socket | None = None
    _keeper: asyncio.Task[None] | None = None
    _ready: bool = False

    async def start(self) -> None:
        """Start it and wait until it is ready.  Raises CannotStart; `end` it even so."""
        role, launch = self.plan.role, self.plan.launch
        self._ready = False
        try:
            async with asyncio.timeout(READY_SECONDS):
                self._process, line = await self.plan.launcher.launch(role, launch.sockets)
                self._line = line
                await lifeline.brief(line, pack(self.plan.settings, launch))
                report = await lifeline.receive(line)
                problem = await self._last_words() if report is None else report.problem
        except TimeoutError:
            problem = f"it was not ready within {READY_SECONDS:.0f} seconds"
        except OSError as error:  # of the system: too many processes, no memory
            problem = str(error)
        if problem:
            raise CannotStart(f"{role} process cannot start: {problem}")
        self._ready = True

    async def _last_words(self) -> str:
        """Why it ended without a word.  Raises Killed if that says nothing of the next attempt."""
        assert self._process is not None  # noqa: S101 - it was started
        code = await self._process.wait()
        if code < 0:
            role = self.plan.role
            raise Killed(f"{role} process cannot start: signal {-code} killed it as it started")
        return _ENDED

    def keep(self) -> None:
        """Replace it whenever it dies, until it is dismissed or ended."""
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        try:
            while True:
                assert self._process is not None  # noqa: S101 - started before it is kept
                code = await self._process.wait()
                _log.error("process.died", role=self.plan.role, pid=self._process.pid, code=code)
                self._bury()
                await self._replace()
        except Exception as error:
            self.give_up(error)

    async def _replace(self) -> None:
        """Start it again, and yet again where a system short of memory kills it as it starts."""
        for left in reversed(range(ATTEMPTS)):
            await asyncio.sleep(RESTART_PAUSE)
            try:
                await self.start()
            except Killed as error:
                if not left:
                    raise
                _log.error("process.killed", role=self.plan.role, why=str(error))
                self._bury()
            else:
                return

    def dismiss(self) -> None:
        """Tell it to take nothing new and end: a successor is at work."""
        self._let_be()
        if self._line is not None and self._ready:
            lifeline.dismiss(self._line)
        else:
            self._hang_up()

    async def end(self) -> None:
        """Tell it to end without losing time, and wait until it has."""
        self._let_be()
        self._hang_up()
        await self.gone()

    async def gone(self) -> None:
        """Wait until it has ended; it is killed where it does not within its time."""
        if self._process is None:
            return
        # The process keeps its own deadline; this one is for a process that is stuck.
        late = self.plan.settings.process.stop_seconds + STUCK_SECONDS
        try:
            async with asyncio.timeout(late):
                await self._process.wait()
        except TimeoutError:
            _log.error("process.stuck", role=self.plan.role, pid=self._process.pid)
            self._process.kill()
            await self._process.wait()
        self._bury()

    def _let_be(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _bury(self) -> None:
        assert self._process is not None  # noqa: S101 - it has ended
        self._hang_up()
        # What it measured of itself, such as its open sessions, is no more.
        with best_effort:
            mark_process_dead(  # type: ignore[no-untyped-call]  # prometheus_client
                self._process.pid, self.plan.launcher.environment[METRICS]
            )
