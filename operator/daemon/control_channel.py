"""Control channel: a socket pair between the supervisor and each process of the daemon.

Messages, one line each:
  1. child: its pid;
  2. supervisor: settings and options (start_args.py);
  3. child: a report that it is ready, or why it waits; again at each change until it is ready;
  4. supervisor, heartbeat (heartbeat.py): `alive?`, answered by `alive` from the event loop;
  5. supervisor: `leave`, once a successor works: drain and exit.

EOF means that the other process is gone.  So a child never outlives its supervisor, not even a
killed supervisor, and the supervisor never waits for a dead child.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

_LEAVE: Final = b"leave"
_ASK: Final = b"alive?"
_ALIVE: Final = b"alive"


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """Report of a child.  `pid`: set in the first report only.

    `problem`: reason why the child waits; empty if it is ready.
    `own`: the reason is configuration, keys, rights or schema, not an outside service.
    """

    problem: str = ""
    own: bool = False
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders of the supervisor.  `stop`: take nothing new, exit.  `hurry`: exit at once."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Set both: the whole daemon stops."""
        self.stop.set()
        self.hurry.set()


async def send_args(line: socket.socket, words: bytes) -> None:
    """Supervisor: send settings and options on a non-blocking socket.  `words`: without newline."""
    with suppress(ConnectionError):  # the child died; the next read of a report shows it
        await asyncio.get_running_loop().sock_sendall(line, words + b"\n")


def receive_args(line: socket.socket) -> bytes:
    """Child: wait for the line that `send_args` sends, on a blocking socket.

    Raises OSError if the supervisor is gone.
    """
    said = b""
    while not said.endswith(b"\n"):
        more = line.recv(65_536)
        if not more:
            raise OSError("the supervisor is gone")
        said += more
    return said


def send_pid(line: socket.socket) -> None:
    """Child: send the pid, as the first message."""
    _say(line, ProcessReport(pid=os.getpid()))


def send_report(line: socket.socket, said: ProcessReport) -> None:
    """Child: send a report."""
    _say(line, said)


def _say(line: socket.socket, said: ProcessReport) -> None:
    with suppress(ConnectionError):  # the supervisor is gone; `watch` reads EOF
        line.sendall(json.dumps(asdict(said)).encode() + b"\n")


@dataclass(slots=True)
class ReportReader:
    """Supervisor: reader of a child's reports, on a non-blocking socket.

    `answered`: called for each answer to `send_ping`.
    """

    line: socket.socket
    answered: Callable[[], None] = lambda: None
    _said: bytes = b""

    async def next_report(self) -> ProcessReport | None:
        """Wait for the next report; None if the child has died."""
        while True:
            while b"\n" not in self._said:
                more = await _more(self.line)
                if not more:
                    return None
                self._said += more
            first, _, self._said = self._said.partition(b"\n")
            if first != _ALIVE:
                return ProcessReport(**json.loads(first))
            self.answered()


async def receive_pid(line: socket.socket) -> ProcessReport | None:
    """Supervisor: wait for a single report; None if the child died."""
    return await ReportReader(line).next_report()


def send_leave(line: socket.socket) -> None:
    """Supervisor: send `leave` to a child that is ready."""
    with suppress(ConnectionError):  # the child is dead already
        line.sendall(_LEAVE + b"\n")


def send_ping(line: socket.socket) -> None:
    """Supervisor: send `alive?`.  Never twice without an answer in between."""
    with suppress(OSError):  # the child has closed its end: there will be no answer
        line.sendall(_ASK + b"\n")


async def watch(line: socket.socket, orders: Orders) -> None:
    """Child: answer the heartbeat and set `orders` as told, until EOF, which ends everything."""
    said = b""
    while more := await _more(line):
        *words, said = (said + more).split(b"\n")
        for word in words:
            if word == _ASK:
                with suppress(OSError):  # the supervisor is gone; the next `_more` reads EOF
                    line.sendall(_ALIVE + b"\n")
            elif word == _LEAVE:
                orders.stop.set()
    orders.end()


async def _more(line: socket.socket) -> bytes:
    """Next octets; empty at EOF.  A reset is EOF too: the peer died with unread data."""
    try:
        return await asyncio.get_running_loop().sock_recv(line, 4096)
    except ConnectionError:
        return b""
