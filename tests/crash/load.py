"""Load of real SMTP sessions that survives any kill of the daemon, with its ledger.

Each client sends one message after the other, under TLS with its certificate, by DATA or BDAT, to
one mailbox or several, of 2 kB to 1 MB, some with the body of an earlier message. When the
connection breaks, the client notes that the message got no reply, and connects again.
"""

import asyncio
import hashlib
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.machines.daemon import Daemon, federation

SENDER: Final = "durand@b.mssante.fr"
MAILBOXES: Final = ("claire.martin", "cardiologie", "noreply-biologie", "cabinet.durand")
SIZES: Final = (2_000, 2_000, 2_000, 2_000, 20_000, 20_000, 60_000, 300_000, 1_000_000)
_EQUAL: Final = 0.15  # share of messages with the body of an earlier message
_PIECE: Final = 64 * 1024  # octets of a body per write
_PAUSE: Final = 0.1  # seconds before a client tries again
_PATIENCE: Final = 60.0  # seconds for any reply
_LINE: Final = b"0123456789" * 7 + b"abcdef\r\n"


@dataclass(slots=True, eq=False)
class Sending:
    """A message sent once; `reply` is the reply to its end, '' without a reply.

    `blob` is the SHA-256 of its octets, `position` the value of `mark` when the reply came.
    """

    blob: str
    recipients: tuple[str, ...]
    reply: str = ""
    position: int = 0

    @property
    def accepted(self) -> str:
        """The id of the acknowledged message, or ''."""
        return self.reply.rpartition(" ")[2] if self.reply.startswith("250 2.0.0 Accepted") else ""


@dataclass(slots=True)
class Ledger:
    """Results of the clients. `refusals` counts the codes of refusals to any command."""

    sendings: list[Sending] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0


class _Refused(Exception):
    """The server refuses for now."""


def _letter(randomness: random.Random, sizes: Sequence[int]) -> bytes:
    size = randomness.choice(sizes)
    head = f"From: <{SENDER}>\r\nSubject: [FIN]\r\n\r\n{randomness.randbytes(16).hex()}\r\n"
    return head.encode() + _LINE * (size // len(_LINE))


class _Client:
    def __init__(self, load: "Load", seed: str) -> None:
        self._load = load
        self._random = random.Random(seed)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        while not self._load.stopping.is_set():
            try:
                if self._writer is None:
                    await self._connect()
                await self._send()
            except (OSError, EOFError, _Refused):
                self._hang_up()
                await asyncio.sleep(_PAUSE)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _connect(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._load.port)
        await self._hear()
        await self._say("STARTTLS")
        async with asyncio.timeout(_PATIENCE):
            await self._writer.start_tls(self._load.tls)
        await self._say("EHLO smtp.b.mssante.fr")

    async def _hear(self) -> str:
        assert self._reader is not None
        async with asyncio.timeout(_PATIENCE):
            while True:
                line = (await self._reader.readuntil(b"\n")).decode("ascii").rstrip()
                if line[3:4] != "-":
                    break
        if line[0] not in "23":
            self._load.ledger.refusals[" ".join(line.split()[:2])] += 1
            raise _Refused(line)
        return line

    async def _say(self, *commands: str) -> None:
        assert self._writer is not None
        self._writer.write("".join(f"{one}\r\n" for one in commands).encode())
        for _ in commands:
            await self._hear()

    def _body(self) -> bytes:
        pool = self._load.bodies
        if pool and self._random.random() < _EQUAL:
            return self._random.choice(pool)
        body = _letter(self._random, self._load.sizes)
        pool.append(body)
        del pool[:-8]
        return body

    async def _send(self) -> None:
        body, chance = self._body(), self._random
        to = tuple(
            f"{name}@a.mssante.fr" for name in chance.sample(MAILBOXES, chance.choice((1, 1, 2, 4)))
        )
        await self._say(f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{one}>" for one in to))
        sending = Sending(hashlib.sha256(body).hexdigest(), to)
        by_chunks = chance.random() < 0.4
        if not by_chunks:
            await self._say("DATA")
        self._load.ledger.sendings.append(sending)
        try:
            if by_chunks:
                middle = chance.randrange(len(body))
                await self._chunk(body[:middle], "")
                await self._hear()
                await self._chunk(body[middle:], " LAST")
            else:
                await self._write(body)
                await self._write(b".\r\n")
            sending.reply = await self._hear()
        except _Refused as refused:
            sending.reply = str(refused)
            raise
        finally:
            sending.position = self._load.mark()
        self._load.ledger.acknowledged += 1

    async def _chunk(self, octets: bytes, last: str) -> None:
        await self._write(f"BDAT {len(octets)}{last}\r\n".encode())
        await self._write(octets)

    async def _write(self, octets: bytes) -> None:
        assert self._writer is not None
        for start in range(0, len(octets), _PIECE):
            if self._writer.transport.is_closing():
                raise ConnectionResetError
            self._writer.write(octets[start : start + _PIECE])
            async with asyncio.timeout(_PATIENCE):
                await self._writer.drain()


class Load:
    """A number of clients in a thread, from `with` to its end."""

    def __init__(
        self,
        daemon: Daemon,
        ledger: Ledger,
        seed: str,
        *,
        clients: int = 8,
        sizes: Sequence[int] = SIZES,
        mark: Callable[[], int] = lambda: 0,
    ) -> None:
        self.port, self.ledger, self.sizes, self.mark = daemon.port, ledger, sizes, mark
        self.tls = _context(*daemon.identity("b"))
        self.bodies: list[bytes] = []
        self.stopping = threading.Event()
        self._clients = [f"{seed} client {number}" for number in range(clients)]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    @property
    def ended(self) -> bool:
        """True if all clients are done after they were told to stop."""
        return not self._thread.is_alive()

    async def _run(self) -> None:
        # A connection cut during its handshake is no error here.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _facts: None)
        try:
            await asyncio.gather(*(_Client(self, seed).run() for seed in self._clients))
        except BaseException as failure:
            self._failure = failure
            with suppress(Exception):
                self.stopping.set()


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    root = federation().space.hierarchy.root.certificate_pem
    context = ssl.create_default_context(cadata=root.decode("ascii"))
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    return context
