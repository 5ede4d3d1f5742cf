"""The launcher of a generation of processes, as the supervisor has it.

It is a process that has imported what all of them need and is forked for each, which takes some
milliseconds and shares the memory (docs/decisions/0018).  There is one for each generation, since
some libraries read the environment when they are imported.  One that has died takes no process
with it, and another takes its place when the next process is needed.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from ..errors import Away
from . import control_channel, fork_server, stack_dump
from .control_channel import Report
from .heartbeat import Heartbeat
from .silence import Silence
from .subreaper import Process

_log = structlog.get_logger(__name__)

STUCK_SECONDS: Final = 5.0  # for it to end once told, after which it is killed
BEGIN_SECONDS: Final = 100.0  # for its first answer: it imports everything, on a host under load

Launched = tuple[Process, socket.socket]  # with our end of its lifeline, which does not block


@dataclass(slots=True, eq=False)
class Launcher:
    """Starts processes with an environment, until `end`.

    A launcher that leaves a request unanswered for `silent_seconds` is killed, `killed` told of it.
    """

    environment: Mapping[str, str]
    silent_seconds: float = 30.0
    killed: Callable[[str], None] = lambda _: None
    _line: socket.socket | None = None
    _process: Process | None = None
    _has_answered: bool = False
    _processes: dict[asyncio.Task[None], Process] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _unwanted: set[asyncio.Task[None]] = field(default_factory=set)
    _ended: bool = False

    async def launch(self, role: str, sockets: tuple[int, ...]) -> Launched:
        """Start a process that serves these descriptors.

        Raises OSError if that cannot be, and Away if the system is short of processes or memory.
        """
        launching = asyncio.create_task(self._launch(role, sockets))
        try:
            return await asyncio.shield(launching)
        except asyncio.CancelledError:
            # It may be forked already: whoever is born must be known, to be sent away.
            task = asyncio.create_task(_send_away(launching))
            self._unwanted.add(task)
            task.add_done_callback(self._unwanted.discard)
            raise

    async def _launch(self, role: str, sockets: tuple[int, ...]) -> Launched:
        async with self._turn:
            launched = await self._try(role, sockets) or await self._try(role, sockets)
        if launched is None:
            raise OSError("its launcher ended; the log above says why")
        return launched

    async def _try(self, role: str, sockets: tuple[int, ...]) -> Launched | None:
        """None if the launcher did not live to do it, or the process to say so."""
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
                fork_server.ask(self._line, role, theirs, writing.fileno(), sockets)
            report = await self._introduction(ours)
        except ConnectionError:
            report = None
        if report is not None and report.pid:
            return Process(report.pid, reading), ours
        ours.close()
        reading.close()
        if report is not None:
            raise Away(report.problem)
        self._hang_up()  # if it is not dead, it is of no use
        return None

    async def _introduction(self, ours: socket.socket) -> Report | None:
        """The first report of the process, or the launcher's; None if there will be none."""
        assert self._process is not None  # noqa: S101 - it has begun
        limit = self.silent_seconds
        silence = Silence(limit if self._has_answered else max(limit, BEGIN_SECONDS))
        beat = Heartbeat("launcher", self._process, silence, lambda: None, self.killed)
        killing = asyncio.create_task(beat.run())
        receiving = asyncio.create_task(control_channel.receive(ours))
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
        """Execute the launcher; what is asked of it waits until it has imported everything."""
        self._line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        reading, writing = stack_dump.open_pipe()
        with theirs, writing:
            words = ["-m", "mssante_operator.roles", "launcher"]
            for name, end in (("--line", theirs), ("--stack", writing)):
                os.set_inheritable(end.fileno(), True)  # noqa: FBT003 - os's own
                words += [name, str(end.fileno())]
            pid = os.posix_spawn(
                sys.executable, [sys.executable, *words], {**os.environ, **self.environment}
            )
        self._has_answered = False
        self._process = process = Process(pid, reading)
        watch = asyncio.create_task(self._notice(process, self._line))
        self._processes[watch] = process
        watch.add_done_callback(self._processes.pop)

    async def _notice(self, process: Process, line: socket.socket) -> None:
        code = await process.wait()
        if code:  # it ends well when we hang up, and never otherwise
            _log.error("process.died", role="launcher", pid=process.pid, code=code)
        if self._line is line:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    async def end(self) -> None:
        """Let it end, and whatever it has forked for nobody; killed where that takes too long."""
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
    except (Away, OSError):
        return
    line.close()
    await process.wait()
