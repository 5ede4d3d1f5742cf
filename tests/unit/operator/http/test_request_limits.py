"""Admin HTTP under hostile clients: half requests, hundreds of connections, unread answers."""

import asyncio
import socket
from contextlib import suppress

import pytest

from mssante_operator.http import request_limits
from tests.support.machines.admin import HOST, serving
from tests.support.waiting import until

HALF = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


async def healthz(port: int) -> bytes:
    """Answer to a complete request on a new connection."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(WHOLE)
        answer = await reader.readuntil(b"ok\n")
        writer.close()
        return answer


async def test_hundreds_of_unfinished_requests_keep_nobody_out() -> None:
    async with serving() as port:
        held = []
        for _ in range(300):
            held.append(await asyncio.open_connection(HOST, port))
            held[-1][1].write(HALF)
        for _ in range(3):
            assert (await healthz(port)).startswith(b"HTTP/1.1 200 ")
        # Only MAX_CONNECTIONS connections are held; the oldest were closed.
        async with asyncio.timeout(20):
            for reader, _ in held[: 300 - request_limits.MAX_CONNECTIONS]:
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
        for _, writer in held:
            writer.close()


def gone(client: socket.socket) -> bool:
    """Whether the server has closed a connection without a word."""
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def test_hundreds_that_come_in_one_turn_of_the_loop_are_too_many_as_well() -> None:
    async with serving() as port:
        clients = [socket.create_connection((HOST, port)) for _ in range(300)]  # nothing awaited
        for client in clients:
            client.setblocking(False)
        open_ones = list(clients)

        def cut() -> bool:
            open_ones[:] = [client for client in open_ones if not gone(client)]
            return len(open_ones) <= request_limits.MAX_CONNECTIONS

        async with asyncio.timeout(request_limits.REQUEST_SECONDS / 2):  # before their timeout
            await until(cut)
        assert len(open_ones) == request_limits.MAX_CONNECTIONS
        assert (await healthz(port)).startswith(b"HTTP/1.1 200 ")
        for client in clients:
            client.close()


@pytest.mark.parametrize("said", [b"", HALF, WHOLE + HALF])
async def test_an_unfinished_request_has_its_time(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(request_limits, "REQUEST_SECONDS", 0.3)
    async with serving() as port:
        reader, writer = await asyncio.open_connection(HOST, port)

        async def dribble() -> None:
            writer.write(said)
            while not writer.is_closing():
                await asyncio.sleep(0.05)
                if said:
                    writer.write(b"x")

        task = asyncio.create_task(dribble())
        async with asyncio.timeout(10):
            answer = b""
            with suppress(ConnectionResetError):
                while more := await reader.read(4096):
                    answer += more
        assert answer.count(b"200 OK") == (said == WHOLE + HALF)
        task.cancel()
        writer.close()


async def test_a_request_without_end_is_refused() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(HALF + b"x" * 2 * request_limits.MAX_REQUEST)
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_answers_left_unread_are_cut_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(request_limits, "LAST_SECONDS", 0.6)
    async with serving() as port:
        client = socket.create_connection((HOST, port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()

        async def ask() -> None:
            while True:
                await loop.sock_sendall(client, WHOLE * 100)

        async with asyncio.timeout(20):
            with pytest.raises(ConnectionError):
                await ask()
        client.close()
        assert (await healthz(port)).startswith(b"HTTP/1.1 200 ")
