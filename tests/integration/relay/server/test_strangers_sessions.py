"""Strangers, without a listed certificate: they get a short time, and keep no peer out."""

import asyncio
import math
from pathlib import Path

import pytest

from relay.connection.connection_counts import ARRIVAL_SECONDS
from relay.connection.limits import SessionLimits
from relay.policy.admission import Peer
from tests.support.machines.operators import ACTIVE, Inbound, inbound
from tests.support.sessions.talking import Caller, call, dial
from tests.support.waiting import until


async def chatter(caller: Caller, command: bytes) -> None:
    """Repeat a command until the connection ends."""
    while not caller.writer.is_closing():
        caller.writer.write(command)
        await asyncio.sleep(0.05)


async def last_words(caller: Caller) -> str:
    """The last reply before the connection ends."""
    said = heard = await caller.hear()
    while heard:
        said, heard = heard, await caller.hear()
    return said


@pytest.mark.parametrize("peer", [None, "intruder", "revoked"])
async def test_chatter_under_tls_does_not_buy_a_stranger_time(
    tmp_path: Path, peer: str | None
) -> None:
    limits = SessionLimits(stranger_seconds=1.0, max_commands=100_000)
    async with inbound(tmp_path, limits=limits) as server:
        known, stranger = await call(server, "c"), await call(server, peer)
        task = asyncio.create_task(chatter(stranger, b"NOOP\r\n"))
        said = await asyncio.wait_for(last_words(stranger), 10)
        assert said.startswith("421 4.7.0 Too long without a certificate of the white list ")
        task.cancel()
        stranger.close()
        # A listed peer has been there for longer.
        assert (await known.send(sender="<dr@c.mssante.fr>")).startswith("250 2.0.0 ")
        known.close()


async def test_a_chunk_that_nobody_wants_buys_no_time(tmp_path: Path) -> None:
    limits = SessionLimits(stranger_seconds=1.0, rate_grace_seconds=600)
    async with inbound(tmp_path, limits=limits) as server:
        stranger = await call(server, None)
        stranger.writer.write(b"BDAT 1000000\r\n")
        task = asyncio.create_task(chatter(stranger, b"x"))
        said = await asyncio.wait_for(last_words(stranger), 10)
        assert said.startswith("421 4.7.0 Too long without ")
        task.cancel()
        stranger.close()


async def _crowd(server: Inbound, peers: list[str | None]) -> list[Caller]:
    callers = []
    for peer in peers:
        callers.append(await call(server, peer))
        assert (await callers[-1].say("NOOP")).startswith("250 ")
    return callers


async def test_strangers_keep_no_listed_peer_out(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections=6)) as server:
        strangers = await _crowd(server, [None, "intruder", None, None])
        known = await _crowd(server, ["b", "c"])
        newcomers = await _crowd(server, ["b", "b"])
        for one in strangers[:2]:  # the first to come, the first to go
            assert (await one.hear()).startswith("421 4.3.2 Too many connections, yours has shown ")
        for one in strangers[2:]:
            assert (await one.say("NOOP")).startswith("250 ")
        for one, sender in zip((*known, *newcomers), "bcbb", strict=True):
            assert (await one.send(sender=f"<dr@{sender}.mssante.fr>")).startswith("250 2.0.0 ")
        for one in (*strangers, *known, *newcomers):
            one.close()
        await until(lambda: not server.context.connection_counts.sessions)
        assert len(server.entries(ACTIVE)) == 4


async def test_listed_peers_that_fill_all_places_keep_them(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections=2)) as server:
        known = await _crowd(server, ["b", "c"])
        turned_away = await dial(server)
        assert (await turned_away.hear()).startswith("421 4.3.2 Too many connections, try again ")
        for one in (*known, turned_away):
            one.close()


async def test_strangers_that_do_not_listen_are_not_waited_for(tmp_path: Path) -> None:
    # Each comes, shows no certificate and never reads again; there is room for a peer all the same.
    async with inbound(tmp_path, limits=SessionLimits(max_connections=3)) as server:
        strangers = [await call(server, None) for _ in range(12)]
        for one in strangers:
            one.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own
        known = await call(server, "b")
        assert (await known.send()).startswith("250 2.0.0 ")
        for one in (*strangers, known):
            one.close()


async def test_a_peer_let_in_again_is_no_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The list is gone for a moment between two messages, and comes back as it was.
    async with inbound(tmp_path, limits=SessionLimits(stranger_seconds=1.0)) as server:
        caller = await call(server)
        assert (await caller.send()).startswith("250 2.0.0 ")
        with monkeypatch.context() as patch:
            patch.setattr(server.context.trust_state, "_problem", "it is gone")
            assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("451 ")
        await caller.begin()
        assert (await caller.say("DATA")).startswith("354 ")
        await asyncio.sleep(2)  # twice the time of a stranger
        caller.writer.write(b"From: <dr@b.mssante.fr>\r\n\r\nhello\r\n.\r\n")
        assert (await caller.hear()).startswith("250 2.0.0 ")
        # Nor does it give up its place.
        assert server.context.connection_counts._strangers.take_first(None, math.inf) is None
        caller.close()


async def test_a_peer_whose_verdict_takes_long_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections=1)) as server:
        trust_state, asked, answered = server.context.trust_state, asyncio.Event(), asyncio.Event()
        identify = trust_state.identify_peer

        async def slow(der: bytes | None, version: str, cipher: str) -> Peer:
            asked.set()
            await answered.wait()
            return await identify(der, version, cipher)

        monkeypatch.setattr(trust_state, "identify_peer", slow)
        coming = asyncio.create_task(call(server))
        await asked.wait()
        await asyncio.sleep(ARRIVAL_SECONDS)
        turned_away = await dial(server)
        assert (await turned_away.hear()).startswith("421 4.3.2 Too many connections, try again ")
        answered.set()
        caller = await coming
        assert (await caller.send()).startswith("250 2.0.0 ")
        for one in (caller, turned_away):
            one.close()
