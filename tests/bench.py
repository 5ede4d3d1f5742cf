"""How many messages a second a daemon takes over mutual TLS, each of them synced (`make bench`).

Starts a real daemon, sends from a client process with operator B's certificate, checks that every
message is in its mailbox, prints a table or, with --json, the figures.  The client shares the
machine: compare figures of one run with each other, not with those of another machine.
"""

import argparse
import asyncio
import json
import ssl
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import uvloop

from tests.support.daemon import Daemon, lay_out, served

BOX = "claire.martin@a.mssante.fr"


@dataclass(frozen=True)
class Load:
    """What to send: messages of so many octets, over so many connections at once."""

    messages: int
    size: int
    connections: int


@dataclass(frozen=True)
class Figure:
    """What came of it."""

    size: int
    connections: int
    messages: int
    seconds: float
    per_second: float
    megabytes_per_second: float


async def _connection(port: int, context: ssl.SSLContext, body: bytes, share: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def reply(code: bytes) -> None:
        while True:
            line = await reader.readline()
            if line[3:4] != b"-":
                break
        assert line.startswith(code), line

    await reply(b"220")
    writer.write(b"EHLO bench\r\n")
    await reply(b"250")
    writer.write(b"STARTTLS\r\n")
    await reply(b"220")
    await writer.start_tls(context)
    writer.write(b"EHLO bench\r\n")
    await reply(b"250")
    for _ in range(share):
        writer.write(f"MAIL FROM:<dr@b.mssante.fr>\r\nRCPT TO:<{BOX}>\r\nDATA\r\n".encode())
        for code in (b"250", b"250", b"354"):
            await reply(code)
        writer.write(body)
        await writer.drain()
        await reply(b"250")
    writer.write(b"QUIT\r\n")
    await reply(b"221")
    writer.close()


def send(port: int, certificate: Path, key: Path, load: Load) -> float:
    """Send it all; returns the seconds it took.  Runs in a process of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    line = b"0123456789" * 7 + b"abcdef\r\n"
    body = b"From: dr@b.mssante.fr\r\n\r\n" + line * (load.size // len(line)) + b".\r\n"
    counts = [len(range(n, load.messages, load.connections)) for n in range(load.connections)]

    async def all_connections() -> None:
        await asyncio.gather(*(_connection(port, context, body, n) for n in counts if n))

    began = time.perf_counter()
    uvloop.run(all_connections())
    return time.perf_counter() - began


def measure(daemon: Daemon, load: Load) -> Figure:
    """One load against a running daemon.  AssertionError if a message is missing afterwards."""
    before = len(daemon.entries(BOX))
    certificate, key = daemon.identity("b")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as clients:
        seconds = clients.submit(send, daemon.port, certificate, key, load).result()
    assert len(daemon.entries(BOX)) - before == load.messages
    rate = load.messages / seconds
    return Figure(
        load.size, load.connections, load.messages, round(seconds, 2), round(rate, 1),
        round(rate * load.size / 1e6, 1),
    )  # fmt: skip


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 50_000, 1_000_000])
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mssante-bench-") as folder,
        served(lay_out(Path(folder) / "a", "a", workers=given.workers)) as daemon,
    ):
        figures = [
            measure(daemon, Load(_count(given.messages, size), size, given.connections))
            for size in given.sizes
        ]
    if given.json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    for figure in figures:
        print(
            f"{figure.size:>9} octets: {figure.per_second:>7} messages/s, "
            f"{figure.megabytes_per_second:>6} MB/s"
        )


def _count(messages: int, size: int) -> int:
    """Fewer of the large ones, so that each size takes about as long."""
    return max(messages * 50_000 // max(size, 50_000), 50) if messages > 50 else messages


if __name__ == "__main__":
    main()
