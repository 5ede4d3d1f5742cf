"""The line between the supervisor and a process of the daemon: one socket pair each.

The child says first which process it is.  The supervisor says what the child is to work by, and the
child that it is ready, or why it waits, anew whenever that is something else, until it is ready.
From then on the supervisor asks whether the child lives, and the child answers from its event loop
(heartbeat.py); and the supervisor may say that a successor has taken over, so that the child should
leave.  Either end closing means that the other is gone.  So a child never outlives its supervisor,
even when that one was killed, and the supervisor never waits for a child that has died.
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
class Report:
    """A report of a child: which process it is, or why it waits, ready if `problem` is empty.

    `own` if the problem is one of configuration, keys, rights or schema, and not of something
    outside that is away.
    """

    problem: str = ""
    own: bool = False
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """What a child has been told: to take nothing new and end; and to lose no time over it."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """The whole daemon stops."""
        self.stop.set()
        self.hurry.set()


async def brief(line: socket.socket, words: bytes) -> None:
    """Say on a non-blocking line what a child is to work by, one line, in the supervisor."""
    with suppress(ConnectionError):  # it died; `receive` tells
        await asyncio.get_running_loop().sock_sendall(line, words + b"\n")


def hear(line: socket.socket) -> bytes:
    """Wait for that on a blocking line, in the child.  Raises OSError if the supervisor is gone."""
    said = b""
    while not said.endswith(b"\n"):
        more = line.recv(65_536)
        if not more:
            raise OSError("the supervisor is gone")
        said += more
    return said


def introduce(line: socket.socket) -> None:
    """Tell the supervisor which process this is, from the child that begins."""
    _say(line, Report(pid=os.getpid()))


def report(line: socket.socket, said: Report) -> None:
    """Tell the supervisor, from the child."""
    _say(line, said)


def _say(line: socket.socket, said: Report) -> None:
    with suppress(ConnectionError):  # the supervisor is gone; `follow` tells
        line.sendall(json.dumps(asdict(said)).encode() + b"\n")


@dataclass(slots=True)
class Reports:
    """What a child says on a non-blocking line, one report after the other, in the supervisor.

    `answered` is called for each answer to `ask`.
    """

    line: socket.socket
    answered: Callable[[], None] = lambda: None
    _said: bytes = b""

    async def following(self) -> Report | None:
        """Wait for the next one; None if the child has died."""
        while True:
            while b"\n" not in self._said:
                more = await _more(self.line)
                if not more:
                    return None
                self._said += more
            first, _, self._said = self._said.partition(b"\n")
            if first != _ALIVE:
                return Report(**json.loads(first))
            self.answered()


async def receive(line: socket.socket) -> Report | None:
    """Wait for the one report that is to come; None if the child died."""
    return await Reports(line).following()


def dismiss(line: socket.socket) -> None:
    """Tell a child that is ready to leave, from the supervisor."""
    with suppress(ConnectionError):  # it died, so it has left
        line.sendall(_LEAVE + b"\n")


def ask(line: socket.socket) -> None:
    """Ask a child whether its event loop runs, from the supervisor; once for each answer."""
    with suppress(OSError):  # it has closed its end, so it will not answer
        line.sendall(_ASK + b"\n")


async def follow(line: socket.socket, orders: Orders) -> None:
    """Answer the supervisor, and pass its word on, until it is gone or hangs up, in the child."""
    said = b""
    while more := await _more(line):
        *words, said = (said + more).split(b"\n")
        for word in words:
            if word == _ASK:
                with suppress(OSError):  # the supervisor is gone; the next `_more` tells
                    line.sendall(_ALIVE + b"\n")
            elif word == _LEAVE:
                orders.stop.set()
    orders.end()


async def _more(line: socket.socket) -> bytes:
    """What is said next; empty at the end, which is a reset where the last word was not heard."""
    try:
        return await asyncio.get_running_loop().sock_recv(line, 4096)
    except ConnectionError:
        return b""
