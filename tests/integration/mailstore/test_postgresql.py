"""Connections to PostgreSQL: vanished or hanging hosts, settings of roles, secrets in errors."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from mailstore.db.database import Database
from mailstore.db.dialect import disable_statement_timeout, server_clock
from mailstore.db.engine import postgresql
from mailstore.db.schema import domains
from mailstore.errors import InvalidDatabaseUrl, StoreUnavailable
from mailstore.mailboxes.mailboxes import add_domain, list_domains
from tests.support.clock import NOW
from tests.support.db.own_server import make_role
from tests.support.db.postgresql import Server
from tests.support.sessions.proxy import proxying

SHORT = "options=-c%20statement_timeout=500"  # MARGIN_SECONDS is set to the same
SOON = 10.0  # seconds: enough on a loaded machine, far from the defaults


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "MARGIN_SECONDS", 0.5)
    monkeypatch.setattr(postgresql, "PING_SECONDS", 0.5)


@contextmanager
def opened(url: str, pool_size: int = 2) -> Iterator[Database]:
    with closing(Database(url, pool_size=pool_size)) as database:
        yield database


def option(connection: Connection, level: int, name: int) -> int:
    link = connection.connection.driver_connection
    assert isinstance(link, postgresql.PostgresConnection)
    with socket.socket(fileno=socket.dup(link.fileno())) as one:
        return one.getsockopt(level, name)


def options(connection: Connection) -> list[int]:
    wanted = (
        socket.TCP_KEEPIDLE,
        socket.TCP_KEEPINTVL,
        socket.TCP_KEEPCNT,
        socket.TCP_USER_TIMEOUT,
    )
    alive = option(connection, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return [alive, *(option(connection, socket.IPPROTO_TCP, name) for name in wanted)]


def test_connections_of_the_pool_notice_that_a_host_has_gone(
    own_server: Server, own_database: str
) -> None:
    url = own_server.url(own_database)
    with opened(url) as database, database.write() as connection:
        assert options(connection) == [1, 10, 5, 3, 20_000]
    given = f"{url}?keepalives_idle=77&tcp_user_timeout=1234"
    with opened(given) as database, database.read() as connection:
        assert options(connection) == [1, 77, 5, 3, 1234]


def test_a_host_that_vanishes_amid_a_statement_is_given_up(
    own_server: Server, own_database: str
) -> None:
    with proxying(own_server.address) as proxy:
        url = (
            f"postgresql://postgres@127.0.0.1:{proxy.port}/{own_database}"
            "?keepalives_idle=1&keepalives_interval=1&keepalives_count=1&tcp_user_timeout=1000"
        )
        with opened(url) as database:
            timer = threading.Timer(0.3, proxy.vanish)
            begun = time.monotonic()
            with (  # noqa: PT012 - the body is the test
                pytest.raises(StoreUnavailable, match="unavailable"),
                database.write() as connection,
            ):
                connection.execute(text("SELECT 1"))
                timer.start()
                connection.execute(text("SELECT pg_sleep(25)"))
            assert time.monotonic() - begun < SOON
            timer.join()
            proxy.mend()
        with opened(url) as database, database.read() as connection:
            assert list_domains(connection) == []


def test_a_statement_of_a_frozen_server_is_given_up(own_server: Server, own_database: str) -> None:
    with opened(f"{own_server.url(own_database)}?{SHORT}") as database:
        begun = time.monotonic()
        with (  # noqa: PT012 - the body is the test
            pytest.raises(StoreUnavailable, match="not answered for 1 s"),
            database.write() as conn,
        ):
            conn.execute(text("SELECT 1"))
            with own_server.frozen():
                conn.execute(text("SELECT 1"))
        assert time.monotonic() - begun < SOON
        with database.read() as connection:
            assert list_domains(connection) == []


def test_a_commit_of_a_frozen_server_is_given_up(own_server: Server, own_database: str) -> None:
    with opened(f"{own_server.url(own_database)}?{SHORT}") as database:
        writing = database.write()
        connection = writing.__enter__()
        add_domain(connection, "chu.mssante.fr", now=NOW)
        with own_server.frozen(), pytest.raises(StoreUnavailable, match="not answered"):
            writing.__exit__(None, None, None)
        # The outcome is unknown: the frozen server still has the transaction.
        with database.read() as connection:
            assert len(list_domains(connection)) <= 1


def test_no_thread_waits_for_a_frozen_server(
    own_server: Server, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstore.db.dialect.BUSY_TIMEOUT", 1.0)
    failed: list[str] = []

    def work() -> None:
        try:
            with database.read() as connection:
                list_domains(connection)
        except StoreUnavailable as error:
            failed.append(str(error))

    with opened(f"{own_server.url(own_database)}?{SHORT}&connect_timeout=2") as database:
        with database.read() as one, database.read() as other:
            assert list_domains(one) == list_domains(other) == []
        threads = [threading.Thread(target=work) for _ in range(6)]
        begun = time.monotonic()
        with own_server.frozen():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SOON)
        assert time.monotonic() - begun < SOON
        assert len(failed) == len(threads)


def test_a_connection_that_froze_while_it_rested_is_replaced(
    own_server: Server, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", 0.0)
    with proxying(own_server.address) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{own_database}"
        with opened(url) as database:
            with database.read() as connection:
                before = connection.scalar(text("SELECT pg_backend_pid()"))
            proxy.vanish()
            threading.Timer(0.2, proxy.mend).start()
            with database.read() as connection:
                assert connection.scalar(text("SELECT pg_backend_pid()")) != before


def test_a_long_statement_is_waited_for_while_its_server_lives(
    own_server: Server, own_database: str
) -> None:
    with opened(f"{own_server.url(own_database)}?{SHORT}&connect_timeout=2") as database:
        with database.read() as connection:
            disable_statement_timeout(connection)
            assert connection.scalar(text("SELECT 7 FROM pg_sleep(2.5)")) == 7
        with pytest.raises(StoreUnavailable, match="not answered"), database.read() as connection:  # noqa: PT012 - the body is the test
            disable_statement_timeout(connection)
            with own_server.frozen():
                connection.execute(text("SELECT 1"))
        # `patient` ends with the transaction.
        with (
            pytest.raises(StoreUnavailable, match="statement timeout"),
            database.read() as connection,
        ):
            connection.execute(text("SELECT pg_sleep(20)"))


def test_what_is_set_for_a_role_does_not_hold(own_server: Server, own_database: str) -> None:
    role = make_role(own_server)
    for name, value in {
        "statement_timeout": "900ms",
        "lock_timeout": "1ms",
        "idle_session_timeout": "700ms",
        "datestyle": "German",
        "timezone": "Asia/Tokyo",
        "client_encoding": "LATIN1",
        "default_transaction_isolation": "serializable",
        "synchronous_commit": "off",
    }.items():
        own_server.ask(f"ALTER ROLE {role} SET {name} = '{value}'")
    url = own_server.url(own_database).replace("postgres@", f"{role}@")
    with opened(url) as database, database.read() as connection:
        clock = server_clock(connection)
        assert clock is not None
        assert abs(clock.timestamp() - time.time()) < 60
        wanted = {
            "statement_timeout": "30s",
            "lock_timeout": "10s",
            "idle_session_timeout": "0",
            "client_encoding": "UTF8",
            "transaction_isolation": "read committed",
            "synchronous_commit": "on",
        }
        found = {name: connection.scalar(text(f"SHOW {name}")) for name in wanted}
        assert found == wanted
        assert connection.scalar(text("SELECT 'jiří@'")) == "jiří@"


def test_what_the_url_sets_holds_but_for_durability(own_server: Server, own_database: str) -> None:
    given = "options=-c%20statement_timeout=12s%20-c%20synchronous_commit=off"
    with (
        opened(f"{own_server.url(own_database)}?{given}") as database,
        database.read() as connection,
    ):
        assert connection.scalar(text("SHOW statement_timeout")) == "12s"
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"


def test_an_option_that_libpq_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidDatabaseUrl, match=r'options of the .* "conect_timeout"'):
        Database("postgresql://mssante:s3cret@db/mssante?conect_timeout=3")


@pytest.mark.parametrize(
    "options",
    ["host=a&host=b&port=1&port=2&port=3", "host=a&port=b", "connect_timeout=soon"],
)
def test_options_that_cannot_be_understood_are_refused(options: str) -> None:
    with pytest.raises(InvalidDatabaseUrl, match="the options of the database URL: ") as refused:
        Database(f"postgresql://mssante:s3cret@/mssante?{options}")
    assert "s3cret" not in str(refused.value)


def test_every_address_can_be_sent_whatever_the_url_says(
    own_server: Server, own_database: str
) -> None:
    url = f"{own_server.url(own_database)}?client_encoding=latin1"
    with opened(url) as database, database.read() as connection:
        assert connection.scalar(text("SELECT CAST(:one AS text)"), {"one": "jiří@"}) == "jiří@"


@pytest.mark.parametrize("limit", ["500", "0"])
def test_errors_do_not_quote_rows(own_server: Server, own_database: str, limit: str) -> None:
    row = {"name": "claire.mssante.fr", "created_at": NOW}
    url = f"{own_server.url(own_database)}?options=-c%20statement_timeout={limit}"
    with opened(url) as database:
        with pytest.raises(IntegrityError) as error, database.write() as connection:  # noqa: PT012 - the body is the test
            connection.execute(insert(domains), row)
            connection.execute(insert(domains), row)
        assert "claire" not in str(error.value)
        assert "uq_domains_name" in str(error.value)


def test_a_statement_prepared_before_its_table_changed_is_prepared_anew(
    own_server: Server, own_database: str
) -> None:
    query = select(domains.c.name)
    with opened(own_server.url(own_database), 1) as database:
        for _ in range(8):
            with database.read() as connection:
                assert connection.scalars(query).all() == []
        own_server.ask("ALTER TABLE domains ALTER name TYPE text", database=own_database)
        with pytest.raises(StoreUnavailable, match="cached plan"), database.read() as connection:
            connection.execute(query)
        with database.read() as connection:
            assert connection.scalars(query).all() == []
