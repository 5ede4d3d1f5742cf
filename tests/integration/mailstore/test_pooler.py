"""Real PgBouncer: sharing of sessions among transactions is detected."""

from contextlib import closing

import pytest
from sqlalchemy import text

from mailstore.db.database import Database
from mailstore.db.database_url import parse_url
from mailstore.db.engine import postgresql
from mailstore.db_checks.pooler import shared_by_transactions
from mailstore.errors import StoreUnavailable
from tests.support.db.pgbouncer import missing, pooling
from tests.support.db.postgresql import Server

needs_pooler = pytest.mark.skipif(bool(missing()), reason=missing())
SHARED = {
    "newest first": {},
    "in turns": {"server_round_robin": 1},
    "one session": {"default_pool_size": 1},
    "two sessions in turns": {"server_round_robin": 1, "default_pool_size": 2},
}


def found(port: int, database: str) -> str:
    return shared_by_transactions(parse_url(f"postgresql://postgres@127.0.0.1:{port}/{database}"))


@needs_pooler
@pytest.mark.parametrize("settings", SHARED.values(), ids=SHARED)
def test_transaction_pooling_is_found_out(
    own_server: Server, own_database: str, settings: dict[str, object]
) -> None:
    with pooling(own_server, "transaction", **settings) as port:
        for busy in (0, 3):
            databases = [
                Database(f"postgresql://postgres@127.0.0.1:{port}/{own_database}", pool_size=1)
                for _ in range(busy)
            ]
            for database in databases:  # to have sessions in the pool
                with database.read() as connection:
                    connection.execute(text("SELECT 1"))
            assert "pool_mode = session" in found(port, own_database)
            for database in databases:
                database.close()


@needs_pooler
def test_statement_pooling_is_found_out(own_server: Server, own_database: str) -> None:
    with pooling(own_server, "statement") as port:
        assert "pool_mode = session" in found(port, own_database)


@needs_pooler
@pytest.mark.parametrize("sessions", [1, 2, 20])
def test_session_pooling_does_no_harm(
    own_server: Server, own_database: str, monkeypatch: pytest.MonkeyPatch, sessions: int
) -> None:
    monkeypatch.setattr(postgresql.PostgresConnection, "answer_seconds", 1.0)
    with pooling(own_server, "session", default_pool_size=sessions) as port:
        assert found(port, own_database) == ""


def test_without_a_pooler_there_is_nothing_to_find(own_server: Server, own_database: str) -> None:
    assert found(own_server.port, own_database) == ""


@needs_pooler
def test_a_pooler_that_begins_to_share_is_told_of(
    own_server: Server, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", 0.0)
    with pooling(own_server, "transaction") as port:
        url = f"postgresql://postgres@127.0.0.1:{port}/{own_database}"
        with closing(Database(url)) as database, closing(Database(url)) as another:
            with database.read() as connection:
                connection.execute(text("SELECT 1"))
            with another.read() as connection:
                connection.execute(text("SELECT 1"))  # in the first connection's session
                with pytest.raises(StoreUnavailable, match="pool_mode = session"), database.read():
                    pass
