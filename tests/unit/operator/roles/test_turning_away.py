"""A worker that cannot start yet replies 421, and leaves connections to workers that run."""

import asyncio

import pytest

from mssante_operator.roles import turning_away
from mssante_operator.roles.turning_away import StartupResponder
from relay.server.listen_socket import bind
from tests.support.waiting import until

HOST = "127.0.0.1"


async def greeting(port: int) -> bytes:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(HOST, port)
        # A peer that sends at once must still get the reply.
        writer.write(b"EHLO smtp.b.mssante.fr\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line


async def test_it_answers_while_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turning_away, "LOOK_SECONDS", 0.01)
    others = False
    with bind(HOST, 0) as bound:
        port = bound.getsockname()[1]
        away = StartupResponder([bound], lambda: others)
        away.begin()
        away.begin()
        await asyncio.sleep(0.01)
        await until(lambda: away.answers)
        for _ in range(3):
            assert await greeting(port) == (
                b"421 4.3.0 Mail store unavailable, try again later\r\n"
            )
        others = True
        await until(lambda: not away.answers)
        # The connection waits in the accept queue of the socket, which is still open.
        bound.setblocking(False)
        waiting = asyncio.create_task(greeting(port))
        loop = asyncio.get_running_loop()
        stream, _ = await loop.sock_accept(bound)
        with stream:
            await loop.sock_sendall(stream, b"220 here\r\n")
        assert await waiting == b"220 here\r\n"
        others = False
        await until(lambda: away.answers)
        await away.end()
        assert not away.answers


async def test_too_many_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turning_away, "MAX_CONNECTIONS", 1)
    with bind(HOST, 0) as bound:
        port = bound.getsockname()[1]
        away = StartupResponder([bound], lambda: False)
        away.begin()
        await until(lambda: away.answers)
        reader, writer = await asyncio.open_connection(HOST, port)
        assert (await reader.readline()).startswith(b"421 ")
        cut, other = await asyncio.open_connection(HOST, port)
        assert await cut.read() == b""
        for one in (writer, other):
            one.close()
            await one.wait_closed()
        await away.end()
