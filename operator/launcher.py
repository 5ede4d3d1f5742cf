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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from . import forking, lifeline
from .errors import Away
from .reaping import Process

_log = structlog.get_logger(__name__)

STUCK_SECONDS: Final = 5.0  # for it to end once told, after which it is killed

Launched = tuple[Process, socket.socket]  # with our end of its lifeline, which does not block


@dataclass(slots=True, eq=False)
class Launcher:
    """Starts processes with an environment, until `end`."""

    environment: Mapping[str, str]
    _line: socket.socket | None = None
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
        try:
            with theirs:
                forking.ask(self._line, role, theirs, sockets)
            report = await lifeline.receive(ours)
        except ConnectionError:
            report = None
        if report is not None and report.pid:
            return Process(report.pid), ours
        ours.close()
        if report is not None:
            raise Away(report.problem)
        self._hang_up()  # if it is not dead, it is of no use
        return None

    def _begin(self) -> None:
        """Execute the launcher; what is asked of it waits until it has imported everything."""
        self._line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            theirs.set_inheritable(True)
            words = ["-m", "mssante_operator.process", "launcher", "--line", str(theirs.fileno())]
            pid = os.posix_spawn(
                sys.executable, [sys.executable, *words], {**os.environ, **self.environment}
            )
        process = Process(pid)
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
