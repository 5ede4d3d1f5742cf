"""Mail out, beside Postfix: how fast a queue for one peer is relayed (`make bench`, `outbound`).

Both have the same messages from one sender in their durable queues before anything may leave; then
they are let go, in turn.  The time is that from the peer's first connection until it has the last
message and the queue is empty, so that neither start-up nor injection counts.  Postfix's messages
wait in its `incoming` queue, as new mail does, for a queue manager that is started last.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import func, select

from mailstore.blobs.store import Store
from mailstore.mailboxes.identifiers import MailboxType
from mssante_operator.assembly.clock import make_id, utc_now
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage
from relay.queue.schema import deliveries
from relay.smtp.address import SmtpAddress, parse_address
from tests.bench.load import Generator, Load
from tests.bench.results.rows import POSTFIX, RATE, Bench, Goal, Row
from tests.bench.sides import log_as_json
from tests.bench.sink import Sink, missing, sink
from tests.bench.usage import cpu_seconds, tree
from tests.support.machines.daemon import Daemon, lay_out, served
from tests.support.peers.postfix_relay import Relay, relay
from tests.support.waiting import until_now

DOMAIN: Final = "b.mssante.fr"
REUSING: Final = f"{POSTFIX}, TLS connections reused"
SENDER: Final = "claire.martin@a.mssante.fr"
SIZE: Final = 50_000
_PATIENCE: Final = 300.0  # seconds until the last message has left
_GROUP: Final = 64
_WARM_UP: Final = 100  # messages
_LINE: Final = b"0123456789" * 7 + b"abcdef\r\n"


@dataclass(frozen=True, slots=True)
class Relayed:
    """What came of one load: seconds, and CPU of the side's processes."""

    seconds: float
    cpu: float


class Sender(ABC):
    """A server with a queue for DOMAIN."""

    name: str

    @abstractmethod
    def fill(self, total: int) -> None:
        """Have so many messages in the durable queue, none of which may leave."""

    @abstractmethod
    def release(self) -> None:
        """Let them leave."""

    @abstractmethod
    def queued(self) -> bool:
        """Whether anything is still in the queue."""

    @abstractmethod
    def processes(self) -> list[int]:
        """All of its processes."""


class Ours(Sender):
    """A daemon of ours with one worker, which has nothing to do, and its courier."""

    name = "ours"

    def __init__(self, daemon: Daemon, store: Store) -> None:
        self._daemon, self._store = daemon, store

    def fill(self, total: int) -> None:
        self._daemon.run("queue", "pause", DOMAIN, "--reason", "to be measured")
        queue_letters(self._store, total)

    def release(self) -> None:
        self._daemon.run("queue", "resume", DOMAIN, "--reason", "measured")

    def queued(self) -> bool:
        return waiting(self._store) > 0

    def processes(self) -> list[int]:
        assert self._daemon.process is not None
        return tree(self._daemon.process.pid)


class Theirs(Sender):
    """A Postfix."""

    def __init__(self, name: str, server: Relay, generator: Generator) -> None:
        self.name, self._server, self._generator = name, server, generator

    def fill(self, total: int) -> None:
        self._server.hold()
        load = Load(total, SIZE)
        process = self._generator.start(self._server.port, load, 1, f"dr@{DOMAIN}")
        process.communicate()
        assert len(self._server.incoming()) == total, self._server.log()[-2000:]

    def release(self) -> None:
        self._server.release()

    def queued(self) -> bool:
        return self._server.queued()

    def processes(self) -> list[int]:
        return tree(self._server.master())


def waiting(store: Store) -> int:
    """Deliveries in a queue."""
    with store.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(deliveries)) or 0


def queue_letters(store: Store, total: int, size: int = SIZE) -> None:
    """Accept messages of a person of ours, as submission does, many in a transaction."""
    sender, to = parse_address(SENDER), parse_address(f"dr@{DOMAIN}")
    for begin in range(0, total, _GROUP):
        count = min(_GROUP, total - begin)
        group = [(_letter(store, sender, to, size), None) for _ in range(count)]
        failures = [one for one in commit(store, group, utc_now()) if one is not None]
        assert not failures


def _letter(store: Store, sender: SmtpAddress, to: SmtpAddress, size: int) -> AcceptedMessage:
    one = make_id()
    draft = store.blobs.draft()
    draft.write(
        f"From: <{sender}>\r\nTo: <{to}>\r\nMessage-ID: <{one}@{sender.domain}>\r\n\r\n".encode()
    )
    draft.write(_LINE * (size // len(_LINE)))
    return AcceptedMessage(
        id=one,
        session=one,
        peer="local",
        sender=sender,
        received_at=utc_now(),
        trace=b"Received: from bench\r\n",
        draft=draft,
        remote={to.domain: (to,)},
        mailbox_type=MailboxType.PER,
    )


def run(side: Sender, peer: Sink, total: int) -> Relayed:
    """Fill its queue, let it go, wait for the end.  Raises TimeoutError or AssertionError."""
    before = peer.taken().messages
    side.fill(total)
    os.sync()
    used = cpu_seconds(side.processes())
    assert peer.taken(anew=True).messages == before
    side.release()
    until_now(lambda: peer.taken().messages >= before + total, _PATIENCE)
    until_now(lambda: not side.queued(), _PATIENCE)
    ended, after = time.time(), peer.taken()
    assert after.messages == before + total, f"{side.name}: something came twice"
    return Relayed(ended - after.first, cpu_seconds(side.processes()) - used)


@contextmanager
def _ours(peer: Sink) -> Iterator[Ours]:
    with TemporaryDirectory(prefix="mssante-bench-", ignore_cleanup_errors=True) as folder:
        daemon = lay_out(Path(folder) / "a", "a", {DOMAIN: peer.endpoint()})
        log_as_json(daemon)
        with served(daemon), daemon.store() as store:
            yield Ours(daemon, store)


def outbound(bench: Bench) -> list[Row]:
    """A queue of messages of 50 kB for one peer, relayed under mutual TLS."""
    if reason := missing():
        bench.progress(f"outbound: left out, {reason}")
        return []
    total = bench.scale.relayed
    found: dict[str, list[Relayed]] = {}
    with ExitStack() as running:
        peer = running.enter_context(sink())
        sides: list[Sender] = []
        if bench.postfix:
            for name, reuse in ((POSTFIX, False), (REUSING, True)):
                server = running.enter_context(relay("a", peer.port, reuse=reuse))
                sides.append(Theirs(name, server, bench.generator))
        sides.append(running.enter_context(_ours(peer)))
        for side in sides:
            run(side, peer, min(total, _WARM_UP))
        for number in range(bench.scale.rounds):
            for side in sides:
                bench.progress(f"outbound: {side.name}, round {number + 1}")
                found.setdefault(side.name, []).append(run(side, peer, total))
    return _rows(found, total)


def _rows(found: Mapping[str, Sequence[Relayed]], total: int) -> list[Row]:
    rates = {name: [total / one.seconds for one in some] for name, some in found.items()}
    value = {name: median(some) for name, some in rates.items()}
    return [
        Row(
            "outbound",
            "50 kB",
            name,
            value=value[name],
            unit=RATE,
            samples=tuple(rates[name]),
            ratio=value[name] / value[POSTFIX] if name != POSTFIX and POSTFIX in value else None,
            goal=Goal("≥", 2) if name == Ours.name else None,
            cpu_ms=median(one.cpu for one in some) * 1000 / total,
        )
        for name, some in found.items()
    ]
