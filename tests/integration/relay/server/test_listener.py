"""The listener: its limit, its stop, and the effect on open connections."""

import asyncio
import os
import resource
import socket
import ssl
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.connection.limits import SessionLimits
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from tests.support.machines.operators import ACTIVE, HOST, inbound
from tests.support.sessions.talking import call, dial
from tests.support.storage.blobs import folder
from tests.support.waiting import until


async def test_over_the_limit_is_told_so_and_others_are_unharmed(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections=2)) as server:
        first = await call(server)
        second = await call(server)
        reader, writer = await asyncio.open_connection(HOST, server.port)
        assert (await reader.read()).startswith(b"421 4.3.2 ")
        writer.close()
        for caller in (first, second):
            assert (await caller.say("NOOP")).startswith("250")
        second.close()
        await until(lambda: len(server.context.connection_counts.sessions) == 1)
        third = await call(server)
        assert (await third.say("NOOP")).startswith("250")
        first.close()
        third.close()


async def test_an_idle_peer_is_ended_with_a_reason(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(idle_seconds=0.2)) as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        assert (await reader.readline()).startswith(b"220")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"421 4.4.2 ")
        writer.close()


async def test_a_peer_that_says_nothing_in_tls_is_ended(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(handshake_seconds=0.2)) as server:
        caller = await dial(server)
        await caller.hear()
        assert (await caller.say("STARTTLS")).startswith("220")
        assert await asyncio.wait_for(caller.reader.read(), 5) == b""
        caller.close()
        await until(lambda: not server.context.connection_counts.sessions)


async def test_stopping_lets_a_message_finish_and_ends_the_idle(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        listener = Listener(peer_session, server.context)
        listener.start(bind(HOST, 0))
        idle, busy = await call(server), await call(server)
        await busy.begin()
        await busy.say("DATA")
        stopping = asyncio.create_task(listener.stop(grace=10))
        assert (await idle.hear()).startswith("421 4.3.2 ")
        assert not stopping.done()
        assert (await busy.say("hello\r\n.")).startswith("250 2.0.0 Accepted")
        assert (await busy.hear()).startswith("421 4.3.2 ")
        await asyncio.wait_for(stopping, 5)
        assert len(server.entries(ACTIVE)) == 1
        idle.close()
        busy.close()


async def test_one_that_is_replaced_lets_its_peers_go_on(tmp_path: Path) -> None:
    # Two listeners on one socket, like the processes of two generations.
    async with inbound(tmp_path) as server:
        bound = bind(HOST, 0)
        old, new = Listener(peer_session, server.context), Listener(peer_session, server.context)
        old.start(bound.dup())
        new.start(bound)
        caller, hurry = await call(server), asyncio.Event()
        leaving = asyncio.create_task(old.stop(grace=600, hurry=hurry))
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        assert (await reader.readline()).startswith(b"220 ")
        writer.close()
        assert (await caller.send()).startswith("250 2.0.0 Accepted")
        assert not leaving.done()
        hurry.set()
        assert (await caller.hear()).startswith("421 4.3.2 ")
        await asyncio.wait_for(leaving, 5)
        caller.close()
        await new.stop(grace=0)


async def test_all_that_it_cuts_off_has_ended_when_it_has_stopped(tmp_path: Path) -> None:
    # Otherwise the journal would be closed first, without the end of the session.
    async with inbound(tmp_path, limits=SessionLimits(max_connections=2)) as server:
        listener, bound = Listener(peer_session, server.context), bind(HOST, 0)
        listener.start(bound)
        callers = [await asyncio.open_connection(*bound.getsockname()) for _ in range(3)]
        for reader, _ in callers:
            await reader.readline()  # two banners, and a reply that turns the third away
        await listener.stop(grace=0)
        assert not server.context.connection_counts.sessions
        for _, writer in callers:
            writer.close()
    lines = "".join(path.read_text() for path in (tmp_path / "trace").rglob("*.jsonl"))
    assert lines.count('"session.closed"') == 2


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_tls_versions(tmp_path: Path, version: ssl.TLSVersion, *, expected: bool) -> None:
    # DOMAIN §9.15: TLS 1.2 at least.
    async with inbound(tmp_path) as server:
        context = server.client_tls("b")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the old version is the point
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        caller = await dial(server)
        await caller.hear()
        await caller.say("STARTTLS")
        if expected:
            await caller.writer.start_tls(context)
            assert (await caller.say("NOOP")).startswith("250")
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await caller.writer.start_tls(context)
        caller.close()


async def test_a_resumed_session_still_shows_who_it_is(tmp_path: Path) -> None:
    # A resumed handshake carries no certificate: it comes from the session and is judged again.
    async with inbound(tmp_path) as server:
        context = server.client_tls("b")
        first = await asyncio.to_thread(resumable, context, server.port, None)
        again = await asyncio.to_thread(resumable, context, server.port, first[0])
        assert (first[1], again[1]) == (False, True)
        assert first[2] == again[2] == 250


def resumable(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool, int]:
    """Come as operator B with a TLS session, or none; gives the session, its use, MAIL's code."""
    with socket.create_connection((HOST, port), timeout=10) as plain:
        plain.recv(1000)
        plain.sendall(b"STARTTLS\r\n")
        plain.recv(1000)
        with context.wrap_socket(plain, session=session) as secure:
            secure.sendall(b"EHLO smtp.b.mssante.fr\r\n")
            secure.recv(1000)
            secure.sendall(b"MAIL FROM:<dr@b.mssante.fr>\r\n")
            code = int(secure.recv(1000)[:3])
            return secure.session, bool(secure.session_reused), code


async def test_an_aborted_message_leaves_nothing(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        await caller.begin()
        await caller.say("DATA")
        caller.writer.write(b"0123456789\r\n" * 60_000)  # over what stays in memory
        await caller.writer.drain()
        caller.writer.transport.abort()
        await until(lambda: not server.context.connection_counts.sessions)
        assert server.entries(ACTIVE) == []
        await until(lambda: not any(p.is_file() for p in folder(server.store.blobs).rglob("*")))


def test_a_port_in_use_is_an_error() -> None:
    with bind(HOST, 0) as taken:
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            bind(HOST, taken.getsockname()[1])


async def test_without_a_free_descriptor_connections_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.server.listener.FULL_SECONDS", 0.02)
    async with inbound(tmp_path) as server:
        caller = await call(server)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as client, capture_logs() as logs:
            client.settimeout(5)
            with ExitStack() as stack:
                stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
                resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
                with suppress(OSError):
                    while True:
                        stack.callback(os.close, os.dup(client.fileno()))
                client.connect((HOST, server.port))
                await until(lambda: any(e["event"] == "listener.cannot_accept" for e in logs))
                assert (await caller.say("NOOP")).startswith("250")  # the others are not affected
            assert (await asyncio.to_thread(client.recv, 100)).startswith(b"220 ")
        caller.close()
