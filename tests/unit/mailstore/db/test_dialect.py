"""The differences between SQLite and PostgreSQL."""

from pathlib import Path

import pytest
from sqlalchemy import select, text

from mailstore.db.database import Database
from mailstore.db.database_url import parse_url
from mailstore.db.dialect import insert_or_ignore, skip_locked
from mailstore.db.schema import domains
from mailstore.errors import InvalidDatabaseUrl
from mailstore.mailboxes.mailboxes import add_domain, list_domains
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


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a%3fb", "é b:c@d", ":memory:", "a;b&c=d"])
def test_a_path_is_a_path(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / f"{name}.db"
    file.parent.mkdir()
    database = Database(file)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE x (y INTEGER)"))
    database.close()
    assert sorted(one.name for one in file.parent.iterdir()) == [file.name, f"{file.name}-turn"]
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_url_of_sqlite_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatabaseUrl, match="write \\? as %3F"):
        Database(f"sqlite:///{tmp_path}/a?b/mail.db")
    (tmp_path / "a?b").mkdir()
    Database(f"sqlite:///{tmp_path}/a%3Fb/mail.db").close()
    assert (tmp_path / "a?b" / "mail.db").is_file()


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
