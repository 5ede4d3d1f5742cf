"""PostgreSQL with a streaming standby, for tests of fail-over.

A proxy between the two lets the standby lag as long as a test wants.  The roles change with each
fail-over; `renew` makes the old primary a standby.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from psycopg import sql

from mssante_operator.assembly.database import migrations
from tests.support.db.databases import roomy_memory
from tests.support.db.postgresql import Build, Server, builds, servers_user
from tests.support.sessions.proxy import Proxy, proxying
from tests.support.waiting import until_now

_TEMPLATE: Final = "template_migrated"
_STANDBY: Final = "standby"  # application_name of the standby at the primary


@dataclass(eq=False)
class Pair:
    """Pair of servers.  `primary`: takes writes.  `link`: proxy of the replication."""

    primary: Server
    standby: Server
    link: Proxy
    synchronous: bool = False
    _numbers: Iterator[int] = field(default_factory=count)

    def database(self) -> str:
        """Create a database with the schema and no rows; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.primary.ask(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        self.caught_up()
        return name

    def wait_for_standby(self, *, on: bool) -> None:
        """Let each commit wait for the standby (synchronous), or not."""
        self.synchronous = on
        self._set(self.primary, "synchronous_standby_names", _STANDBY if on else "")
        state = "sync" if on else "async"
        until_now(lambda: self._states() == [state])

    @staticmethod
    def _set(server: Server, name: str, value: str) -> None:
        server.ask("SELECT 1")
        statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value)
        server.ask(statement.as_string())
        server.ask("SELECT pg_reload_conf()")

    def _states(self) -> list[str]:
        return [row[0] for row in self.primary.ask("SELECT sync_state FROM pg_stat_replication")]

    def lag(self) -> None:
        """Pass nothing to the standby, until its promotion or `caught_up`."""
        self.link.freeze()

    def caught_up(self) -> None:
        """Wait until the standby has, and shows, all data of the primary."""
        self.link.mend()
        ((there,),) = self.primary.ask("SELECT pg_current_wal_lsn()")
        until_now(
            lambda: self.standby.ask("SELECT pg_last_wal_replay_lsn() >= %s", there) == [(True,)]
        )

    def fail_over(self) -> None:
        """Promote the standby with its present data.

        The old primary stays as it is: alive, frozen or dead, and not a standby.
        """
        self.link.cut()  # replication data in transit does not arrive any more
        # Otherwise commits would wait for a standby that does not exist.
        self._set(self.standby, "synchronous_standby_names", "")
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def renew(self) -> None:
        """Make the other server a new standby of the present primary."""
        self.standby.stop()
        shutil.rmtree(self.standby.data)
        self.link.point(self.primary.address, fencing=True)
        self.link.mend()
        self._make_standby()

    def _make_standby(self) -> None:
        link = f"host=127.0.0.1 port={self.link.port} user=postgres application_name={_STANDBY}"
        data = self.standby.data
        words = ("-X", "stream", "--checkpoint=fast", "--no-sync", "-R")
        self.standby.run("pg_basebackup", "-d", link, "-D", str(data), *words)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{link}'\nsynchronous_standby_names = ''\n")
        self.standby.start()
        self.wait_for_standby(on=self.synchronous)

    def stop(self) -> None:
        """Stop both servers."""
        for one in (self.standby, self.primary):
            one.stop()


@contextmanager
def replicating(build: Build) -> Iterator[Pair]:
    """Run a pair of servers of a build, first asynchronous, with a migrated template."""
    # Not below pytest's own folder: run as root, the servers are another user without access to it.
    folder = Path(tempfile.mkdtemp(prefix="mssante-pair-", dir=roomy_memory()))
    if os.geteuid() == 0:
        shutil.chown(folder, servers_user())
    one, two = (Server(build, folder / name) for name in ("one", "two"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        pair = Pair(one, two, stack.enter_context(proxying(one.address)))
        stack.callback(pair.stop)
        one.make()
        one.start()
        one.ask(f"CREATE DATABASE {_TEMPLATE}")
        migrations.upgrade(one.url(_TEMPLATE))
        pair._make_standby()
        yield pair


@pytest.fixture(scope="session")
def kept_pair() -> Iterator[Pair]:
    """Pair for the tests of this process, of the first build."""
    with replicating(builds()[0]) as pair:
        yield pair


@pytest.fixture
def pair(kept_pair: Pair) -> Iterator[Pair]:
    """The pair, asynchronous, with an up-to-date standby; afterwards all changes are undone."""
    yield kept_pair
    kept_pair.synchronous = False
    kept_pair.renew()
