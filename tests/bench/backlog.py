"""A backlog of a million recipients, a quarter at dead destinations (`make bench`, `backlog`).

The queue is filled before the daemon starts; then its courier drains it to one sink that listens at
an address for each living destination, so that each has connections of its own.  Nothing listens at
the dead ones.  Meanwhile somebody writes to somebody at a living one every few seconds: the time
until the peer has it counts from the moment before it is submitted.
"""

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import text

from mailstore.blobs.bodies import PreparedBody
from mailstore.blobs.store import Store
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import Message, NewMessage, store_messages
from mssante_operator.assembly.clock import make_id, utc_now
from mssante_operator.services.local_submission import open_submitter
from mssante_operator.settings.model import load
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from relay.smtp.address import parse_address
from relay.submission.local import LocalSubmitter
from tests.bench.results.rows import Bench, Goal, Row
from tests.bench.sides import log_as_json, postgresql, use_database
from tests.bench.sink import Sink, missing, sink
from tests.bench.usage import database_octets, pss_megabytes, tree
from tests.support.machines.daemon import Daemon, federation, free_endpoint, lay_out, served
from tests.support.waiting import until_now

DESTINATIONS: Final = 400
DEAD_EVERY: Final = 4
DOMAINS_EACH: Final = 5  # destinations of one message
RECIPIENTS_EACH: Final = 10  # its recipients at each of them
SENDERS: Final = 200
PEOPLE_EVERY: Final = 4  # one sender in so many is a person, the others are programs
URGENT: Final = "urgent@a.mssante.fr"
_GROUP: Final = 200  # messages queued in one transaction
_LOOK: Final = 0.02  # seconds between two looks at the sink
_SAMPLE: Final = 0.5  # seconds between two samples of sizes
_URGENT_EVERY: Final = 3.0  # seconds between two urgent messages
_LATEST: Final = 30.0  # seconds after which an urgent message is given up
_LINE: Final = b"0123456789" * 7 + b"abcdef\r\n"


@dataclass(slots=True)
class Seen:
    """What was seen while the backlog drained; octets, megabytes, seconds."""

    filled: int = 0
    database: list[int] = field(default_factory=list)
    courier: list[float] = field(default_factory=list)
    daemon: list[float] = field(default_factory=list)
    urgent: list[float] = field(default_factory=list)
    recipients: int = 0
    seconds: float = 0.0


def domain(number: int) -> str:
    """The name of a destination."""
    return f"d{number:03d}.mssante.fr"


def living() -> list[int]:
    """The numbers of the destinations that answer."""
    return [n for n in range(DESTINATIONS) if n % DEAD_EVERY]


def fill(store: Store, recipients: int) -> None:
    """Queue so many recipients, as acceptance does, but many messages in a transaction."""
    number = recipients // (DOMAINS_EACH * RECIPIENTS_EACH)
    for begin in range(0, number, _GROUP):
        numbers = range(begin, min(begin + _GROUP, number))
        drafts = []
        for n in numbers:
            drafts.append(store.blobs.draft())
            drafts[-1].write(b"Message-ID: <%d@a.mssante.fr>\r\n\r\n" % n + _LINE * 25)
        bodies = [one for one in store.blobs.prepare(drafts) if isinstance(one, PreparedBody)]
        sizes = [draft.size for draft in drafts]
        now = utc_now()
        new, items = [], []
        for n, body, size in zip(numbers, bodies, sizes, strict=True):
            key, sender = make_id(), f"s{n % SENDERS}@a.mssante.fr"
            trace = "Received: from bench\r\n"
            new.append(NewMessage(Message(key, sender, body.blob, size, trace, "local", key, now)))
            kind = MailboxType.APP if n % PEOPLE_EVERY else MailboxType.PER
            for to in (domain((n * DOMAINS_EACH + k) % DESTINATIONS) for k in range(DOMAINS_EACH)):
                names = tuple(f"dr.{n}.{k}@{to}" for k in range(RECIPIENTS_EACH))
                items.append(
                    QueueItem(
                        key,
                        to,
                        names,
                        smtputf8=False,
                        created_at=now,
                        sender=sender,
                        mailbox_type=kind,
                    )
                )
        with store.database.write() as connection:
            store.blobs.keep(connection, bodies, now=now)
            store_messages(connection, new, now=now)
            enqueue(connection, items)


@contextmanager
def _installed(peer: Sink, url: str) -> Iterator[Daemon]:
    nobody, known = free_endpoint(), federation()
    endpoints = {domain(n): peer.endpoint(at) for at, n in enumerate(living())}
    routes = {domain(n): endpoints.get(domain(n), nobody) for n in range(DESTINATIONS)}
    operators = dict.fromkeys(routes, known.operators["b"])
    listed = known.space.sign_list({"a.mssante.fr": known.operators["a"], **operators})
    with TemporaryDirectory(prefix="mssante-bench-", ignore_cleanup_errors=True) as folder:
        daemon = lay_out(Path(folder) / "a", "a", routes, white_list=listed)
        log_as_json(daemon)
        if url:
            use_database(daemon, url)
            with daemon.store() as store, store.database.write() as connection:
                add_domain(connection, "a.mssante.fr", now=utc_now())
        yield daemon


class _Watch:
    """Looks at the daemon and the sink while the backlog drains."""

    def __init__(self, daemon: Daemon, peer: Sink, submitter: LocalSubmitter, seen: Seen) -> None:
        self._daemon, self._peer, self._submitter, self.seen = daemon, peer, submitter, seen
        self._to = cycle(living())
        self._sampled = self._wrote = 0.0
        self._under_way: float | None = None
        self._marked = 0

    def until(self, recipients: int, window: float | None) -> None:
        """Watch until so many recipients have got theirs, or the window is over.

        From the first one on: the daemon listens before its courier has begun. To the first urgent
        message at least, which ends within `_LATEST`.
        """
        until_now(lambda: self._peer.taken().messages > 0)
        began = time.monotonic()
        while True:
            taken = self._peer.taken()
            now = time.monotonic()
            self._urgent(taken.marked, taken.marked_at, now)
            self._sample(now)
            over = window is not None and now - began > window
            drained = taken.recipients - taken.marked >= recipients
            if (drained or over) and self.seen.urgent:
                break
            time.sleep(_LOOK)
        self.seen.recipients = taken.recipients
        self.seen.seconds = now - began

    def _urgent(self, marked: int, marked_at: float, now: float) -> None:
        if self._under_way is not None and marked > self._marked:
            self.seen.urgent.append(marked_at - self._under_way)
            self._under_way, self._marked = None, marked
        if self._under_way is not None:
            assert time.time() - self._under_way < _LATEST, "an urgent message did not leave"
        elif now - self._wrote > _URGENT_EVERY:
            self._wrote, self._under_way = now, time.time()
            to = parse_address(f"dr@{domain(next(self._to) * 7 % DESTINATIONS)}")
            body = io.BytesIO(b"From: <%s>\r\n\r\nat once\r\n" % URGENT.encode())
            self._submitter.submit(body, parse_address(URGENT), [to])

    def _sample(self, now: float) -> None:
        if now - self._sampled < _SAMPLE:
            return
        self._sampled = now
        self.seen.database.append(database_octets(self._submitter.store.database))
        self.seen.courier.append(pss_megabytes(self._daemon.processes("courier")))
        assert self._daemon.process is not None
        self.seen.daemon.append(pss_megabytes(tree(self._daemon.process.pid)))


def backlog(bench: Bench) -> list[Row]:
    """A backlog for 400 destinations, a quarter of them dead."""
    if reason := missing():
        bench.progress(f"backlog: left out, {reason}")
        return []
    rows = _drained(bench, "SQLite", "")
    if bench.scale.window is None:
        with postgresql() as url:
            rows += _drained(bench, "PostgreSQL", url)
    return rows


def _drained(bench: Bench, name: str, url: str) -> list[Row]:
    queued, seen = bench.scale.queued, Seen()
    with ExitStack() as running:
        peer = running.enter_context(sink(addresses=len(living())))
        daemon = running.enter_context(_installed(peer, url))
        bench.progress(f"backlog: filling {name}, {queued} recipients")
        with daemon.store() as store:
            with store.database.write() as connection:
                holder = Identifier(IdentifierKind.RPPS, "10000001916")
                now = utc_now()
                add_mailbox(connection, URGENT, MailboxType.PER, holder, now=now)
            fill(store, queued)
            if url:
                # As autovacuum does within a minute, while a backlog takes hours to come about.
                with store.database.write() as connection:
                    connection.execute(text("ANALYZE"))
        submitter = running.enter_context(open_submitter(load(daemon.config)))
        seen.filled = database_octets(submitter.store.database)
        bench.progress(f"backlog: draining {name}")
        running.enter_context(served(daemon))
        reachable = queued * (DEAD_EVERY - 1) // DEAD_EVERY
        _Watch(daemon, peer, submitter, seen).until(reachable, bench.scale.window)
    return _rows(seen, f"{queued} recipients, {name}")


def _rows(seen: Seen, side: str) -> list[Row]:
    def row(
        case: str,
        unit: str,
        samples: Sequence[float],
        value: float,
        goal: Goal | None = None,
        ratio: float | None = None,
    ) -> Row:
        return Row("backlog", case, side, value, unit, tuple(samples), ratio, goal)

    rate = seen.recipients / seen.seconds
    most = max(seen.database)
    within = Goal("≤", 2, "s")
    octets = [one / 1e6 for one in seen.database]
    return [
        row("drained", "recipients/s", [rate], rate),
        row("database at most", "MB", octets, most / 1e6, Goal("≤", 2), most / seen.filled),
        row("courier's memory", "MB", seen.courier, max(seen.courier), Goal("≤", 300, "MB")),
        row("all processes' memory", "MB", seen.daemon, max(seen.daemon)),
        row("urgent message, median", "s", seen.urgent, median(seen.urgent)),
        row("urgent message, slowest", "s", seen.urgent, max(seen.urgent), within),
    ]
