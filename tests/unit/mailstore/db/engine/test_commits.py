"""A commit whose wait for a synchronous standby was cancelled must not be relied on.

A real PostgreSQL waits for a standby that never comes; the waiting session is cancelled or ended.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import pytest
from sqlalchemy import event, insert, select

from mailstore.db.database import Database
from mailstore.db.engine import commits
from mailstore.db.engine.commits import WARNINGS, CommitWarning
from mailstore.db.schema import domains
from mailstore.errors import StoreUnavailable
from tests.support.clock import NOW
from tests.support.db.databases import PostgresServer
from tests.support.db.standby import cancel_waiting, nobody_follows
from tests.support.waiting import until_now

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@pytest.fixture
def lonely(postgres_server: PostgresServer, database: Database) -> Iterator[PostgresServer]:
    """The server, waiting for a standby; a connection exists already."""
    with suppress(StoreUnavailable):
        database.probe()
    with nobody_follows(postgres_server):
        yield postgres_server


def add(database: Database, name: str) -> None:
    with database.write() as connection:
        connection.execute(insert(domains).values(name=name, created_at=NOW))


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(domains.c.name)))


@pytest.mark.parametrize("end", [False, True])
def test_a_commit_that_was_cancelled_has_no_known_outcome(
    lonely: PostgresServer, database: Database, *, end: bool
) -> None:
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(add, database, "a.mssante.fr")
        cancel_waiting(lonely, str(database.url.database), end=end)
        with pytest.raises(StoreUnavailable) as caught:
            adding.result()
    if not end:
        assert "outcome is unknown" in str(caught.value)
        assert "01000" in str(caught.value)
        assert "\n" not in str(caught.value)
    # The row is here, and maybe nowhere else: success must not be reported.
    assert names(database) == ["a.mssante.fr"]


def test_what_follows_is_not_in_doubt(lonely: PostgresServer, database: Database) -> None:
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(add, database, "a.mssante.fr")
        cancel_waiting(lonely, str(database.url.database))
        assert isinstance(adding.exception(), StoreUnavailable)
        following = pool.submit(add, database, "b.mssante.fr")
        # An administrator gives the standby up on purpose.
        lonely.execute("ALTER SYSTEM RESET synchronous_standby_names")
        lonely.execute("SELECT pg_reload_conf()")
        following.result()
    assert names(database) == ["a.mssante.fr", "b.mssante.fr"]


def test_mail_is_put_off_while_commits_wait(
    postgres_server: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "HANGS_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as pool:
        with nobody_follows(postgres_server):
            database.probe()  # no commit waits
            adding = pool.submit(add, database, "a.mssante.fr")
            until_now(lambda: says(database.probe))
            assert says(database.check_commits)
        adding.result()  # the standby was given up: the commit counts
    database.probe()
    database.check_commits()
    assert names(database) == ["a.mssante.fr"]


def says(look: Callable[[], None]) -> bool:
    """True if the check reports waiting commits, and the standby's name."""
    try:
        look()
    except StoreUnavailable as error:
        return "wait for a synchronous standby, and none of nobody has answered" in str(error)
    return False


def test_a_warning_before_the_commit_is_none_of_it(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DO $$ BEGIN RAISE WARNING 'of a trigger'; END $$")
        connection.execute(insert(domains).values(name="a.mssante.fr", created_at=NOW))
    assert names(database) == ["a.mssante.fr"]


def test_any_other_warning_of_a_commit_is_doubt(database: Database) -> None:
    # A deferred trigger warns during the commit.
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION warn() RETURNS trigger AS "
            "$$ BEGIN RAISE WARNING 'odd'; RETURN NULL; END $$ LANGUAGE plpgsql"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON domains DEFERRABLE "
            "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()"
        )
    with pytest.raises(StoreUnavailable, match="odd"):
        add(database, "a.mssante.fr")


@pytest.mark.parametrize(("source", "doubted"), [("async.c", False), ("syncrep.c", True)])
def test_that_the_queue_of_notifications_fills_is_no_doubt(
    database: Database, source: str, *, doubted: bool
) -> None:
    # The real queue holds 8 GB before it fills; the driver's warning is simulated.
    with pytest.raises(StoreUnavailable) if doubted else nullcontext():  # noqa: SIM117
        with database.write() as connection:
            connection.execute(insert(domains).values(name="a.mssante.fr", created_at=NOW))
            heard = connection.info[WARNINGS]
            event.listen(
                connection, "commit", lambda _: heard.append(CommitWarning(source, "01000", "full"))
            )
    assert names(database) == ["a.mssante.fr"]
