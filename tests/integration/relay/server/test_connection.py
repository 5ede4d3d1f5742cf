"""A connection's limits in time and number, and its ends: always with a reply, never for others."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

import relay.server.listener
import relay.server.session
from relay.acceptance.recipient_lookup import FoundRecipient, RecipientLookup
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import SessionLimits
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from relay.smtp.address import SmtpAddress
from tests.support.clock import system_clock
from tests.support.machines.operators import ACTIVE, HOST, Inbound, inbound
from tests.support.sessions.talking import Caller, call, dial
from tests.support.storage.blobs import folder
from tests.support.waiting import until


def temporary_files(server: Inbound) -> list[str]:
    return [path.name for path in (folder(server.store.blobs) / "tmp").iterdir()]


# The stream.


async def test_asyncio_makes_no_stream_writer_for_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing keeps it since Python 3.13, and its finalizer closes the transport.
    made: list[asyncio.BaseProtocol] = []

    class Noted(asyncio.StreamWriter):
        def __init__(
            self,
            transport: asyncio.WriteTransport,
            protocol: asyncio.BaseProtocol,
            reader: asyncio.StreamReader | None,
            loop: asyncio.AbstractEventLoop,
        ) -> None:
            made.append(protocol)
            super().__init__(transport, protocol, reader, loop)

    monkeypatch.setattr(asyncio.streams, "StreamWriter", Noted)
    async with inbound(tmp_path) as server:
        caller = await call(server)
        assert (await caller.say("NOOP")).startswith("250 ")
        caller.close()
    assert [type(one) for one in made] == [asyncio.StreamReaderProtocol], "the caller's alone"


# Time.


async def test_chatter_before_tls_does_not_buy_time(tmp_path: Path) -> None:
    limits = SessionLimits(greeting_seconds=0.5, idle_seconds=300)
    async with inbound(tmp_path, limits=limits) as server:
        caller = await dial(server)
        await caller.hear()
        for _ in range(5):
            assert (await caller.say("NOOP")).startswith("250 ")
        said = await asyncio.wait_for(caller.hear(), 10)
        assert said.startswith("421 4.4.2 Idle for too long [session ")
        assert await caller.reader.read() == b""
        caller.close()


async def test_a_command_that_dribbles_is_cut_off(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(idle_seconds=0.5)) as server:
        caller = await call(server)

        async def dribble() -> None:
            while True:
                caller.writer.write(b"N")
                await asyncio.sleep(0.05)

        dribbling = asyncio.create_task(dribble())
        assert (await asyncio.wait_for(caller.hear(), 10)).startswith("421 4.4.2 ")
        dribbling.cancel()
        caller.close()


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_a_message_below_the_rate_is_cut_off(tmp_path: Path, verb: str) -> None:
    # The peer is never silent for long, and another peer notices nothing.
    limits = SessionLimits(min_rate=100_000, rate_grace_seconds=0.3, data_idle_seconds=60)
    async with inbound(tmp_path, limits=limits) as server:
        slow, other = await call(server), await call(server, "c")
        await slow.begin()
        if verb == "DATA":
            await slow.say("DATA")
        else:
            slow.writer.write(b"BDAT 900000 LAST\r\n")

        async def trickle() -> None:
            while True:
                slow.writer.write(b"x: y\r\n")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        said = await asyncio.wait_for(slow.hear(), 10)
        assert said.startswith("421 4.4.2 Message comes too slowly, connection closed [session ")
        trickling.cancel()
        slow.close()
        assert (await other.send(sender="<dr@c.mssante.fr>")).startswith("250 2.0.0 ")
        other.close()
        await until(lambda: not server.context.connection_counts.sessions)
        assert len(server.entries(ACTIVE)) == 1


async def test_small_chunks_buy_no_time(tmp_path: Path) -> None:
    # Each chunk comes within the grace, the message does not.
    limits = SessionLimits(min_rate=100_000, rate_grace_seconds=0.4, data_idle_seconds=60)
    async with inbound(tmp_path, limits=limits) as server:
        caller = await call(server)
        await caller.begin()
        said = "250"
        for _ in range(100):
            caller.writer.write(b"BDAT 4\r\nx:")
            await asyncio.sleep(0.05)
            caller.writer.write(b"\r\n")
            said = await asyncio.wait_for(caller.hear(), 10)
            if not said.startswith("250 "):
                break
        assert said.startswith("421 4.4.2 Message comes too slowly")
        caller.close()


@pytest.mark.parametrize("between", ["BDAT 1\r\nx", "NOOP\r\n"])
async def test_waits_between_chunks_are_part_of_the_message(tmp_path: Path, between: str) -> None:
    # A chunk of an octet, whole in one write and now and then, must not reset the pace.
    limits = SessionLimits(min_rate=100_000, rate_grace_seconds=0.5, data_idle_seconds=60)
    async with inbound(tmp_path, limits=limits) as server:
        caller = await call(server)
        await caller.begin()
        assert (await caller.say("BDAT 0")).startswith("250 2.0.0 ")

        async def trickle() -> None:
            while True:
                await asyncio.sleep(0.1)
                caller.writer.write(between.encode())

        trickling = asyncio.create_task(trickle())
        said = "250 "
        async with asyncio.timeout(10):
            while said.startswith("250 "):
                said = await caller.hear()
        assert said.startswith("421 4.4.2 Message comes too slowly, connection closed [session ")
        trickling.cancel()
        caller.close()


async def test_a_message_in_many_chunks_is_not_too_many_commands(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_commands=10)) as server:
        caller = await call(server)
        await caller.begin()
        line = b"0123456789abcd\r\n"
        caller.writer.write(b"BDAT 2\r\n\r\n")  # the end of an empty header section
        assert (await caller.hear()).startswith("250 ")
        for _ in range(30):
            caller.writer.write(b"BDAT 1024\r\n" + line * 64)
            assert (await caller.hear()).startswith("250 2.0.0 1024 octets")
        assert (await caller.say("BDAT 0 LAST")).startswith("250 2.0.0 Accepted")
        await caller.begin()
        said = []
        for _ in range(10):
            caller.writer.write(b"BDAT 16\r\n" + line)
            said.append((await caller.hear())[:9])
        assert said[0] == "250 2.0.0"
        assert said[-1] in {"421 4.7.0", ""}
        caller.close()


async def test_silence_in_a_message_is_cut_off(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(data_idle_seconds=0.3)) as server:
        caller = await call(server)
        await caller.begin()
        await caller.say("DATA")
        caller.writer.write(b"Subject: half\r\n")
        assert (await asyncio.wait_for(caller.hear(), 10)).startswith("421 4.4.2 ")
        assert await caller.reader.read() == b""
        caller.close()
        assert server.entries(ACTIVE) == []


@pytest.mark.parametrize("tls", [True, False])  # in clear text no end of TLS is waited for
async def test_a_peer_that_never_reads_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tls: bool
) -> None:
    monkeypatch.setattr(relay.server.session, "LINGER_SECONDS", 0.2)
    async with inbound(
        tmp_path, limits=SessionLimits(idle_seconds=0.5, max_commands=10**9)
    ) as server:
        caller = await (call(server) if tls else dial(server))
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]

        async def flood() -> None:
            while True:
                caller.writer.write(b"NOOP\r\n" * 20_000)
                await caller.writer.drain()

        flooding = asyncio.create_task(flood())
        await until(lambda: bool(server.context.connection_counts.sessions))
        await until(lambda: not server.context.connection_counts.sessions)
        flooding.cancel()
        caller.writer.transport.abort()


# Numbers.


async def test_too_many_of_one_name(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections_per_peer=1)) as server:
        first = await call(server)
        second = await dial(server)
        await second.hear()
        await second.say("STARTTLS")
        await second.writer.start_tls(server.client_tls("b"))
        said = await second.say("EHLO smtp.b.mssante.fr")
        assert said.startswith("421 4.7.0 Too many connections with your certificate [session ")
        assert await second.reader.read() == b""
        assert (await first.send()).startswith("250 2.0.0 ")
        other = await call(server, "c")
        for caller in (first, second, other):
            caller.close()
        await until(lambda: not server.context.connection_counts.sessions)
        again = await call(server)
        again.close()


async def test_too_many_of_one_address(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections_per_address=1)) as server:
        first = await call(server)
        second = await dial(server)
        second.writer.write(
            b"EHLO early.example\r\n" * 100
        )  # unread octets must not cost the reply
        assert (await second.reader.read()).startswith(b"421 4.3.2 Too many connections from your")
        second.close()
        assert (await first.say("NOOP")).startswith("250")
        first.close()


async def test_who_is_turned_away_may_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay.server.listener, "LINGER_SECONDS", 0.2)
    async with inbound(tmp_path, limits=SessionLimits(max_connections=1)) as server:
        first = await call(server)
        stubborn = [await dial(server) for _ in range(3)]
        said = [await caller.reader.readline() for caller in stubborn]
        # As many peers as may be connected get a reply; a flood beyond that gets none.
        assert [line[:9] for line in said] == [b"421 4.3.2", b"", b""]
        for caller in stubborn:
            assert await asyncio.wait_for(caller.reader.read(), 10) == b""
        assert (await first.say("NOOP")).startswith("250")
        for caller in (first, *stubborn):
            caller.close()


async def test_a_reply_is_heard_although_much_is_under_way(tmp_path: Path) -> None:
    # Closing with octets unread would make TCP throw the reply away, if the peer reads it later.
    async with inbound(tmp_path, limits=SessionLimits(max_commands=3)) as server:
        caller = await call(server)
        transport = cast("asyncio.Transport", caller.writer.transport)
        transport.pause_reading()
        caller.writer.write(b"NOOP\r\n" * 200_000)
        await until(lambda: not server.context.connection_counts.sessions)
        transport.resume_reading()
        said = (await caller.reader.read()).decode().splitlines()
        assert [line[:9] for line in said] == ["250 2.0.0", "421 4.7.0"]
        caller.close()


# Our own faults.


class Broken(RecipientLookup):
    """A directory with an unforeseen fault."""

    async def lookup(
        self, address: SmtpAddress, size: int | None = None, ahead: Iterable[SmtpAddress] = ()
    ) -> FoundRecipient:
        raise RuntimeError(f"no {address} of {size}, no {ahead}")


async def test_an_unforeseen_fault_ends_the_session_and_nothing_else(tmp_path: Path) -> None:
    # The position in the stream is unknown: later octets are not read as commands.
    async with inbound(tmp_path) as server:
        broken = replace(
            server.context,
            recipient_lookup=Broken(server.store.database, now=system_clock),
            connection_counts=ConnectionCounts(SessionLimits()),
        )
        listener, bound = Listener(peer_session, broken), bind(HOST, 0)
        listener.start(bound)
        port = bound.getsockname()[1]
        caller = await call(replace(server, port=port))
        caller.writer.write(
            f"MAIL FROM:<dr@b.mssante.fr>\r\nRCPT TO:<{ACTIVE}>\r\nNOOP\r\n".encode()
        )
        assert (await caller.hear()).startswith("250 2.1.0")
        assert (await caller.hear()).startswith("451 4.3.0 Mail store unavailable")
        assert await caller.hear() == ""
        caller.close()
        await listener.stop(grace=0)
        assert (await _noop(server)).startswith("250")


async def _noop(server: Inbound) -> str:
    caller = await call(server)
    try:
        return await caller.say("NOOP")
    finally:
        caller.close()


@pytest.mark.parametrize("end", ["quit", "abort", "rset", "ehlo"])
async def test_chunks_not_finished_leave_nothing(tmp_path: Path, end: str) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        await caller.begin()
        caller.writer.write(b"BDAT 600000\r\n" + b"0123456789\r\n" * 50_000)
        assert (await caller.hear()).startswith("250 2.0.0 600000 octets")
        assert len(temporary_files(server)) == 1
        await _end(caller, end)
        await until(lambda: temporary_files(server) == [])
        caller.close()
        assert server.entries(ACTIVE) == []


async def _end(caller: Caller, end: str) -> None:
    if end == "abort":
        caller.writer.transport.abort()
    else:
        await caller.say({"quit": "QUIT", "rset": "RSET", "ehlo": "EHLO b"}[end])
