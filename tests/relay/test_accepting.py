"""Few connections go to one process, many to all, and none is ever left waiting."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from relay import accepting
from relay.accepting import COMPANY, Acceptor, reluctance
from relay.listener import bind
from tests.support.waiting import until

HOST = "127.0.0.1"
Loop = Callable[[], asyncio.AbstractEventLoop]
loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class Process:
    """What a worker is to the others: sessions that stay open."""

    def __init__(self, bound: socket.socket) -> None:
        self.sessions: set[asyncio.BaseTransport] = set()
        self.acceptor = Acceptor(bound, lambda: _Session(self), lambda: len(self.sessions))


class _Session(asyncio.Protocol):
    def __init__(self, process: Process) -> None:
        self._process = process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process.sessions.add(transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self._process.sessions.discard(self._transport)


class Town:
    """Processes that share a socket, and their callers."""

    def __init__(self, bound: socket.socket, processes: int) -> None:
        self.address = bound.getsockname()
        self.processes = [Process(bound.dup()) for _ in range(processes)]
        self.writers: list[asyncio.StreamWriter] = []
        bound.close()

    async def call(self, times: int) -> None:
        """Connect, one after the other."""
        for _ in range(times):
            self.writers.append((await asyncio.open_connection(*self.address))[1])
            await until(lambda: sum(self.sessions()) == len(self.writers))

    def sessions(self) -> list[int]:
        return sorted(len(one.sessions) for one in self.processes)


@asynccontextmanager
async def town(processes: int) -> AsyncIterator[Town]:
    made = Town(bind(HOST, 0), processes)
    yield made
    for one in made.processes:
        await one.acceptor.close()
    for writer in made.writers:
        writer.close()
    await until(lambda: not any(made.sessions()))


def test_who_lets_others_go_first() -> None:
    assert reluctance(0) > reluctance(1) == reluctance(COMPANY - 1) == 0
    assert reluctance(COMPANY) > reluctance(0)  # one without any is to take it
    assert reluctance(COMPANY) < reluctance(2 * COMPANY) <= reluctance(100_000) < 0.01


@loops
def test_few_keep_company_and_many_are_shared(loop: Loop) -> None:
    async def scene() -> None:
        async with town(processes=2) as here:
            await here.call(5)
            assert here.sessions() == [0, 5]
            await here.call(25)
            assert here.sessions()[0] >= COMPANY

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene())


@loops
def test_what_was_accepted_is_a_session_when_it_is_closed(loop: Loop) -> None:
    async def scene() -> None:
        async with town(processes=1) as here:
            (process,) = here.processes
            here.writers += [(await asyncio.open_connection(*here.address))[1] for _ in range(3)]
            await until(lambda: bool(process.sessions or process.acceptor._coming))
            await process.acceptor.close()
            assert process.sessions
            assert not process.acceptor._coming
            with pytest.raises(ConnectionError):
                await asyncio.open_connection(*here.address)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene())


class Full(socket.socket):
    """The socket of a process that has too many files open, at first."""

    refused = 0

    def accept(self) -> tuple[socket.socket, object]:
        if self.refused < 2:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_a_system_that_refuses_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "_NO_MORE", 0.01)
    full = Full(fileno=bind(HOST, 0).detach())
    process = Process(full)
    _, writer = await asyncio.open_connection(*full.getsockname())
    await until(lambda: bool(process.sessions))
    assert full.refused == 2
    await process.acceptor.close()
    writer.close()
    await until(lambda: not process.sessions)
