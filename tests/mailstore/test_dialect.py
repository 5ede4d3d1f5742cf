"""The differences between SQLite and PostgreSQL."""

import pytest
from sqlalchemy import select

from mailstore.database import Database
from mailstore.dialect import insert_or_ignore, parse_url, skip_locked
from mailstore.errors import InvalidDatabaseUrl
from mailstore.mailboxes import add_domain, list_domains
from mailstore.schema import domains
from tests.support.clock import NOW


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:////var/lib/mssante/mail.db", "sqlite+pysqlite"),
        ("postgresql://mssante@db/mssante", "postgresql+psycopg"),
        ("postgresql+psycopg://mssante@db/mssante", "postgresql+psycopg"),
    ],
)
def test_urls_get_their_driver(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://mssante:s3cret@db/mssante",
        "postgresql+asyncpg://mssante:s3cret@db/mssante",
        "postgresql://mssante:s3cret@db:port/mssante",
    ],
)
def test_other_urls_are_refused_without_telling_their_password(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl, match=r"expected sqlite:///PATH or postgresql") as error:
        Database(url)
    assert "s3cret" not in str(error.value)


def test_insert_or_ignore_leaves_the_row_and_the_transaction_alone(database: Database) -> None:
    with database.write() as conn:
        first = add_domain(conn, "chu.mssante.fr", now=NOW)
        again = insert_or_ignore(conn, domains).values(name=first.name, created_at=NOW)
        assert conn.execute(again.returning(domains.c.id)).all() == []
        # PostgreSQL would refuse any further statement after a violation.
        assert list_domains(conn) == [first]


def test_skip_locked_passes_over_the_rows_of_others(database: Database, dialect: str) -> None:
    with database.write() as conn:
        names = {add_domain(conn, f"{i}.mssante.fr", now=NOW).name for i in range(3)}
    query = skip_locked(select(domains.c.name).order_by(domains.c.id))
    with database.write() as conn:
        mine = set(conn.scalars(query.limit(2)))
        if dialect == "postgresql":
            with database.write() as other:
                assert set(other.scalars(query)) == names - mine
        else:
            assert "FOR UPDATE" not in str(query.compile(conn))
    with database.write() as conn:
        assert set(conn.scalars(query)) == names
