"""Octets through TLS arrive whole and in order on both event loops, however they are cut.

All connections of a process read into one buffer: no connection may see another's octets.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from relay.connection.tls_buffer import TlsReadBuffer
from tests.support.machines.operators import ACTIVE, Inbound, inbound
from tests.support.sessions.talking import call

HEADER = b"From: <dr@b.mssante.fr>\r\n\r\n"


async def _send(server: Inbound, seed: int, octets: int) -> bytes:
    """Send a message with unique lines, in pieces of any size; returns its octets."""
    chance = random.Random(seed)
    body = HEADER + b"".join(b"%x\r\n" % chance.getrandbits(280) for _ in range(octets // 72))
    caller = await call(server)
    await caller.begin()
    caller.writer.write(b"BDAT %d LAST\r\n" % len(body))
    at = 0
    while at < len(body):
        piece = chance.choice((1, 100, 16_384, 70_000, 400_000))
        caller.writer.write(body[at : at + piece])
        at += piece
        await caller.writer.drain()
    assert (await caller.hear()).startswith("250 ")
    caller.close()
    return body


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_messages_side_by_side_stay_apart(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def exchange() -> None:
        async with inbound(tmp_path) as server:
            sent = await asyncio.gather(*(_send(server, seed, 900_000) for seed in range(6)))
            entries = server.entries(ACTIVE)
            assert len(entries) == 6
            held = sorted(server.body(entry).partition(HEADER)[2] for entry in entries)
            assert held == sorted(body.partition(HEADER)[2] for body in sent)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(exchange())


class Listening:
    """A reader that records its callbacks."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def data_received(self, data: bytes | memoryview) -> None:
        self.heard.append(bytes(data))

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return True

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.heard.append(error)


def test_everything_is_passed_on_until_the_connection_is_lost() -> None:
    reader = Listening()
    secured = TlsReadBuffer(reader)
    secured.get_buffer(-1)[:2] = b"ab"
    secured.buffer_updated(2)
    secured.pause_writing()
    secured.resume_writing()
    assert secured.eof_received()
    error = ConnectionResetError()
    secured.connection_lost(error)
    assert reader.heard == [b"ab", "pause", "resume", "eof", error]
    secured.connection_lost(None)
    secured.buffer_updated(2)
    assert not secured.eof_received()
    assert len(reader.heard) == 5
