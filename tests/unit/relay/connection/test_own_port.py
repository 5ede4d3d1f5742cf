"""Connections of the daemon to itself: known by their port, and not a peer's."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.connection import own_port
from relay.connection.limits import SessionLimits
from relay.connection.own_port import OwnPort
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from tests.support.machines.operators import HOST, Inbound, inbound


class Transport:
    """The two ends of a transport."""

    def __init__(self, peer: tuple[str, int] | None, own: tuple[str, int]) -> None:
        self._ends = {"peername": peer, "sockname": own}

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return self._ends[name]


def test_one_process_announces_and_another_knows(tmp_path: Path) -> None:
    own_port.create_port_file(tmp_path / "own-port")
    asking, asked = OwnPort.share(tmp_path / "own-port"), OwnPort.share(tmp_path / "own-port")
    ours = Transport(("192.0.2.1", 40000), ("192.0.2.1", 25))
    assert not asked.is_from_us(ours)
    asking.announce(40000)
    assert asked.is_from_us(ours)
    assert not asked.is_from_us(Transport(("192.0.2.1", 40001), ("192.0.2.1", 25)))
    asking.announce(0)
    assert not asked.is_from_us(ours)


def test_nobody_from_outside_passes_for_us() -> None:
    known = OwnPort.unknown()
    known.announce(40000)
    assert not known.is_from_us(Transport(("198.51.100.7", 40000), ("192.0.2.1", 25)))
    assert not known.is_from_us(Transport(None, ("192.0.2.1", 25)))  # gone already


@pytest.mark.parametrize("content", [None, b"", b"\0"])
def test_without_its_file_nothing_is_known_and_nothing_fails(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "own-port"
    if content is not None:
        path.write_bytes(content)
    known = OwnPort.share(path)
    known.announce(40000)
    assert known.is_from_us(Transport(("192.0.2.1", 40000), ("192.0.2.1", 25)))


@contextmanager
def announced(server: Inbound) -> Iterator[socket.socket]:
    """A socket bound to the port that the server is told."""
    with socket.socket() as ours:
        ours.bind((HOST, 0))
        ours.settimeout(10)
        server.context.own_port.announce(ours.getsockname()[1])
        yield ours


def ask(server: Inbound) -> tuple[bytes, bytes]:
    """Connect from the announced port; the banner and the reply to QUIT."""
    with announced(server) as ours:
        ours.connect((HOST, server.port))
        banner = ours.recv(1000)
        ours.sendall(b"QUIT\r\n")
        return banner, ours.recv(1000)


async def test_it_takes_no_place_and_leaves_nothing_in_the_journal(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_connections=1)) as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        assert (await reader.readline()).startswith(b"220 ")
        banner, bye = await asyncio.to_thread(ask, server)  # though all places are taken
        assert banner.startswith(b"220 smtp.a.mssante.fr ")
        assert bye.startswith(b"221 ")
        assert len(server.context.connection_counts.sessions) == 1
        server.context.own_port.announce(0)
        late_reader, late = await asyncio.open_connection(HOST, server.port)
        assert (await late_reader.readline()).startswith(b"421 4.3.2 ")
        late.close()
        writer.close()
    lines = [
        json.loads(line)
        for path in (tmp_path / "trace").rglob("*.jsonl")
        for line in filter(None, path.read_text().split("\n"))
    ]
    events = [line["event"] for line in lines if line["event"] != "session.cut"]
    assert events == ["session.opened", "session.closed"]


async def test_it_is_cut_off_like_any_other(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(greeting_seconds=0.2)) as server:

        def wait() -> bytes:
            with announced(server) as ours:
                ours.connect((HOST, server.port))
                return b"".join(iter(lambda: ours.recv(1000), b""))

        assert b"421 4.4.2 " in await asyncio.to_thread(wait)


async def test_a_second_listener_of_the_process_knows_it_too(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        beside = Listener(peer_session, server.context)
        bound = bind(HOST, 0)
        port = bound.getsockname()[1]
        beside.start(bound)
        with announced(server) as ours:
            await asyncio.to_thread(ours.connect, (HOST, port))
            assert (await asyncio.to_thread(ours.recv, 1000)).startswith(b"220 ")
            assert not server.context.connection_counts.sessions
        await beside.stop(grace=0)
