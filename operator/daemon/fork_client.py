"""Client of the fork server (the launcher), in the supervisor.

The launcher has imported all code and forks each process: a fork takes milliseconds, and memory is
shared (docs/decisions/0018).  Each generation has its own launcher, because some libraries read
the environment on import.  If a launcher dies, its processes live on; a new launcher is started
when the next process is needed.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ..errors import Outage
from . import control_channel, fork_server, stack_dump
from .control_channel import ProcessReport
from .heartbeat import Heartbeat
from .silence import Silence
from .subreaper import ChildProcess

_log = structlog.get_logger(__name__)

STUCK_SECONDS: Final = 5.0  # timeout of its exit, after which it is killed
BEGIN_SECONDS: Final = 100.0  # timeout of its first answer: it imports all code, maybe under load

Launched = tuple[ChildProcess, socket.socket]  # our end of its control channel, non-blocking


@dataclass(slots=True, eq=False)
class ForkClient:
    """Starts processes with an environment, until `end`.

    If a request has no answer for `silent_seconds`, the launcher is killed and `killed` is called.
    """

    environment: Mapping[str, str]
    silent_seconds: float = 30.0
    killed: Callable[[str], None] = lambda _: None
    _line: socket.socket | None = None
    _process: ChildProcess | None = None
    _has_answered: bool = False
    _processes: dict[asyncio.Task[None], ChildProcess] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _unwanted: set[asyncio.Task[None]] = field(default_factory=set)
    _ended: bool = False

    async def launch(self, role: str, sockets: tuple[int, ...]) -> Launched:
        """Start a process of this role with these listening sockets (descriptors).

        Raises Outage if the system lacks processes or memory, OSError if the start fails otherwise.
        """
        launching = asyncio.create_task(self._launch(role, sockets))
        try:
            return await asyncio.shield(launching)
        except asyncio.CancelledError:
            # The process may be forked already: wait for it, and end it.
            task = asyncio.create_task(_send_away(launching))
            self._unwanted.add(task)
            task.add_done_callback(self._unwanted.discard)
            raise

    async def _launch(self, role: str, sockets: tuple[int, ...]) -> Launched:
        async with self._turn:
            launched = await self._try(role, sockets) or await self._try(role, sockets)
        if launched is None:
            raise OSError("its launcher ended; see the log above")
        return launched

    async def _try(self, role: str, sockets: tuple[int, ...]) -> Launched | None:
        """Start a process; None if the launcher, or the process, died before the first report."""
        if self._ended:
            return None
        if self._line is None:
            self._begin()
        assert self._line is not None  # noqa: S101 - it has begun
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        reading, writing = stack_dump.open_pipe()
        try:
            with theirs, writing:
                fork_server.request_fork(self._line, role, theirs, writing.fileno(), sockets)
            report = await self._introduction(ours)
        except ConnectionError:
            report = None
        except BaseException:
            ours.close()
            reading.close()
            raise
        if report is not None and report.pid:
            return ChildProcess(report.pid, reading), ours
        ours.close()
        reading.close()
        if report is not None:
            raise Outage(report.problem)
        self._hang_up()  # the launcher is dead or useless
        return None

    async def _introduction(self, ours: socket.socket) -> ProcessReport | None:
        """First report: of the process, or of the launcher if fork failed; None without one."""
        assert self._process is not None  # noqa: S101 - it has begun
        limit = self.silent_seconds
        silence = Silence(limit if self._has_answered else max(limit, BEGIN_SECONDS))
        beat = Heartbeat("launcher", self._process, silence, lambda: None, self.killed)
        killing = asyncio.create_task(beat.run())
        receiving = asyncio.create_task(control_channel.receive_pid(ours))
        both: set[asyncio.Task[Any]] = {killing, receiving}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        report = receiving.result() if receiving in done else None
        self._has_answered = self._has_answered or report is not None
        return report

    def _begin(self) -> None:
        """Start the launcher.  Requests wait in the socket until it has imported all code."""
        self._line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        reading, writing = stack_dump.open_pipe()
        try:
            with theirs, writing:
                words = ["-m", "mssante_operator.roles", "launcher"]
                for name, end in (("--line", theirs), ("--stack", writing)):
                    os.set_inheritable(end.fileno(), True)  # noqa: FBT003 - os's own
                    words += [name, str(end.fileno())]
                pid = os.posix_spawn(
                    sys.executable, [sys.executable, *words], {**os.environ, **self.environment}
                )
            process = ChildProcess(pid, reading)
        except BaseException:
            reading.close()
            self._hang_up()  # a launcher that runs already exits at EOF
            raise
        self._has_answered = False
        self._process = process
        watch = asyncio.create_task(self._notice(process, self._line))
        self._processes[watch] = process
        watch.add_done_callback(self._processes.pop)

    async def _notice(self, process: ChildProcess, line: socket.socket) -> None:
        code = await process.wait()
        if code:  # it exits with 0 only after EOF
            _log.error("process.died", role="launcher", pid=process.pid, code=code)
        if self._line is line:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    async def end(self) -> None:
        """End the launcher, and processes whose start was cancelled.  A late launcher is killed."""
        self._ended = True
        self._hang_up()
        if self._processes:
            _, late = await asyncio.wait(self._processes, timeout=STUCK_SECONDS)
            for watch in late:
                _log.error("process.stuck", role="launcher", pid=self._processes[watch].pid)
                self._processes[watch].kill()
            await asyncio.gather(*late)
        await asyncio.gather(*self._unwanted)


async def _send_away(launching: asyncio.Task[Launched]) -> None:
    try:
        process, line = await launching
    except (Outage, OSError):
        return
    line.close()
    await process.wait()
