"""Transactions, durability settings, waiting writers, and errors of a faulty database."""

import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Connection, insert, select, text, type_coerce, update
from sqlalchemy.exc import IntegrityError, StatementError

from mailstore.db import dialect
from mailstore.db.database import Database
from mailstore.db.engine import postgresql
from mailstore.db.schema import domains
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.mailboxes import add_domain, list_domains
from tests.support.clock import NOW

sqlite_only = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


def names(database: Database) -> list[str]:
    with database.read() as conn:
        return [domain.name for domain in list_domains(conn)]


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Start work in a thread, and collect its errors."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # for the test to inspect
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


@sqlite_only
def test_sqlite_syncs_every_commit_and_checks_foreign_keys(database: Database) -> None:
    def pragmas(conn: Connection) -> dict[str, object]:
        wanted = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
        return {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}

    common = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    with database.write() as conn:
        assert pragmas(conn) == {**common, "query_only": 0}
    with database.read() as conn:
        assert pragmas(conn) == {**common, "query_only": 1}


@postgresql_only
def test_postgresql_sessions_have_timeouts_and_durable_commits(database_url: str) -> None:
    database = Database(database_url)
    wanted = {
        "TimeZone": "UTC",
        "synchronous_commit": "on",
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
    }
    for transaction in (database.read, database.write):
        with transaction() as conn:
            found = {name: conn.scalar(text(f"SHOW {name}")) for name in wanted}
        assert found == wanted
    database.close()


@postgresql_only
@pytest.mark.parametrize(("server", "session"), [("off", "on"), ("remote_apply", "remote_apply")])
def test_postgresql_durability_is_never_weakened(
    database: Database, database_url: str, server: str, session: str
) -> None:
    with database.write() as conn:
        name = conn.scalar(text("SELECT current_database()"))
        conn.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = {server}"))
    fresh = Database(database_url)
    with fresh.write() as conn:
        assert conn.scalar(text("SHOW synchronous_commit")) == session
    fresh.close()


def test_a_new_sqlite_file_is_private(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    with database.write() as conn:
        conn.execute(text("CREATE TABLE t (x)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    database.close()
    assert modes == {
        "new.db": 0o600,
        "new.db-wal": 0o600,
        "new.db-shm": 0o600,
        "new.db-turn": 0o600,
    }


@pytest.mark.integration
def test_opening_a_sqlite_file_again_keeps_the_wal_of_the_first(tmp_path: Path) -> None:
    # https://www.sqlite.org/howtocorrupt.html §2.2: closing the file drops our own locks on it, and
    # the next process that finishes removes the WAL that we still write to.
    path = tmp_path / "store.db"
    first = Database(f"sqlite:///{path}")
    with first.write() as conn:
        conn.execute(text("CREATE TABLE kept (n INTEGER)"))
    second = Database(f"sqlite:///{path}")
    assert rows_seen_by_another_process(path) == 0
    with first.write() as conn:
        conn.execute(text("INSERT INTO kept VALUES (1)"))
    assert rows_seen_by_another_process(path) == 1
    first.close()
    second.close()


def rows_seen_by_another_process(path: Path) -> int:
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]);"
        "print(*connection.execute('SELECT count(*) FROM kept').fetchone()); connection.close()"
    )
    return int(subprocess.check_output([sys.executable, "-c", code, path]))


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    class Interrupted(Exception):
        pass

    with database.write() as conn:
        add_domain(conn, "kept.mssante.fr", now=NOW)
    with pytest.raises(Interrupted), database.write() as conn:  # noqa: PT012 - the body is the test
        add_domain(conn, "lost.mssante.fr", now=NOW)
        raise Interrupted
    assert names(database) == ["kept.mssante.fr"]


@sqlite_only
def test_schema_changes_are_undone_too(database: Database) -> None:
    # On its own, the sqlite3 module commits before DDL.
    with pytest.raises(ZeroDivisionError), database.write() as conn:  # noqa: PT012 - as above
        conn.execute(text("CREATE TABLE t (x)"))
        raise ZeroDivisionError
    with database.read() as conn:
        query = text("SELECT count(*) FROM sqlite_master WHERE name = 't'")
        assert conn.scalar(query) == 0


@sqlite_only
def test_a_read_sees_one_moment(database: Database) -> None:
    with database.read() as conn:
        assert list_domains(conn) == []
        with database.write() as other:
            add_domain(other, "new.mssante.fr", now=NOW)
        assert list_domains(conn) == []
    assert names(database) == ["new.mssante.fr"]


def test_writing_in_a_read_is_refused(database: Database) -> None:
    with pytest.raises(StoreUnavailable), database.read() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
    assert names(database) == []


def test_a_second_writer_waits_for_the_first(database: Database, database_url: str) -> None:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
    # Another Database is like another process: it shares no pool and no lock with ours.
    other = Database(database_url)
    later = NOW + timedelta(days=1)
    started, ended = threading.Event(), threading.Event()

    def second() -> None:
        started.set()
        with other.write() as conn:
            conn.execute(update(domains).values(created_at=later))
        ended.set()

    with database.write() as conn:
        conn.execute(update(domains).values(created_at=NOW))
        thread, raised = in_thread(second)
        assert started.wait(10)
        assert not ended.wait(0.3)
    thread.join(30)
    assert not raised
    assert ended.is_set()
    with database.read() as conn:
        assert [domain.created_at for domain in list_domains(conn)] == [later]
    other.close()


@sqlite_only
def test_read_modify_write_loses_nothing_among_many_writers(
    database: Database, database_url: str
) -> None:
    with database.write() as conn:
        conn.execute(text("CREATE TABLE counter (n INTEGER)"))
        conn.execute(text("INSERT INTO counter VALUES (0)"))
    databases = [database, Database(database_url)]

    def count(target: Database) -> None:
        for _ in range(20):
            with target.write() as conn:
                value = conn.scalar(text("SELECT n FROM counter"))
                conn.execute(text("UPDATE counter SET n = :n"), {"n": value + 1})

    started = [in_thread(partial(count, target)) for target in databases for _ in range(3)]
    for thread, _ in started:
        thread.join(60)
    assert [raised for _, raised in started] == [[]] * 6
    with database.read() as conn:
        assert conn.scalar(text("SELECT n FROM counter")) == 120
    databases[1].close()


@sqlite_only
def test_a_writer_that_waited_too_long_is_told(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_TIMEOUT", 0.05)
    impatient = Database(database_url)
    with (
        database.write(),
        pytest.raises(StoreUnavailable, match="database is locked"),
        impatient.write(),
    ):
        pass
    with (
        impatient.write(),
        pytest.raises(StoreUnavailable, match="no connection became free"),
        impatient.write(),
    ):
        pass
    impatient.close()


@postgresql_only
def test_a_lock_not_had_in_time_is_unavailability(database: Database) -> None:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
    with database.write() as conn:
        conn.execute(update(domains).values(created_at=NOW))
        with pytest.raises(StoreUnavailable, match="lock timeout"), database.write() as other:  # noqa: PT012 - the body is the test
            other.execute(text("SET LOCAL lock_timeout = '20ms'"))
            other.execute(update(domains).values(created_at=NOW))


@postgresql_only
def test_a_broken_connection_is_unavailability_once(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="unavailable") as error, database.write() as conn:  # noqa: PT012 - the body is the test
        pid = conn.scalar(text("SELECT pg_backend_pid()"))
        with database.write() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        add_domain(conn, "lost.mssante.fr", now=NOW)
    assert error.value.__cause__ is not None
    assert names(database) == []


@postgresql_only
@pytest.mark.parametrize("rest", [0.0, 60.0])
def test_connections_that_died_while_they_rested_are_replaced_unseen(
    database: Database, monkeypatch: pytest.MonkeyPatch, rest: float
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", rest)

    def two_at_once() -> None:
        with database.write() as one, database.write() as other:
            assert list_domains(one) == list_domains(other) == []

    two_at_once()
    with database.write() as conn:
        killed = conn.scalars(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).all()
    assert killed == [True]
    if rest:  # not tested: known to work a moment ago
        with pytest.raises(StoreUnavailable):
            two_at_once()
    two_at_once()


@sqlite_only
def test_a_full_database_is_unavailability(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="full"), database.write() as conn:  # noqa: PT012 - the body is the test
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        for i in range(1000):
            add_domain(conn, f"{'l' * 60}.{i}.mssante.fr", now=NOW)
    assert names(database) == []


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot open the database .*/none/mail\.db"):
        Database(f"sqlite:///{tmp_path}/none/mail.db")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    path.write_bytes(b"From nobody\n" * 1000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a database"):
        database.schema_revision()
    database.close()


def test_a_server_that_is_away(tmp_path: Path) -> None:
    database = Database(f"postgresql://mssante:s3cret@/mssante?host={tmp_path}")
    with pytest.raises(StoreUnavailable, match="database is unavailable") as error:
        database.schema_revision()
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)
    database.close()


def test_a_missing_schema_says_what_to_do(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert database.schema_revision() is None
    with pytest.raises(StoreUnavailable, match="mssante db upgrade"), database.read() as conn:
        list_domains(conn)
    database.close()


def test_a_violated_constraint_is_not_unavailability(database: Database) -> None:
    row = {"name": "chu.mssante.fr", "created_at": NOW}
    with pytest.raises(IntegrityError), database.write() as conn:
        conn.execute(insert(domains), [row, row])


@pytest.mark.parametrize(
    "moment",
    [
        NOW,
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-5))),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
)
def test_times_are_exact_and_in_utc(database: Database, moment: datetime) -> None:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=moment)
    with database.read() as conn:
        [domain] = list_domains(conn)
        stored = conn.scalar(select(type_coerce(domains.c.created_at, BigInteger)))
    assert domain.created_at == moment
    assert domain.created_at.utcoffset() == timedelta(0)
    assert isinstance(stored, int)


def test_a_time_without_its_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="a time with its zone"), database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW.replace(tzinfo=None))


def test_errors_do_not_quote_what_was_to_be_stored(database: Database) -> None:
    # Errors go to logs; parameters are addresses and bodies of messages.
    statement = text("SELECT * FROM nowhere WHERE x = :secret")
    with pytest.raises(Exception, match="nowhere") as error, database.read() as connection:
        connection.execute(statement, {"secret": "claire-and-her-body"})
    shown: BaseException | None = error.value
    while shown is not None:
        assert "claire-and-her-body" not in str(shown)
        shown = shown.__cause__
