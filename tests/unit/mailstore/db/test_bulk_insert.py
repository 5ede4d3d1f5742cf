"""Many rows by few statements, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event, select

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.database import Database
from mailstore.db.schema import domains, microseconds
from tests.support.clock import NOW

INSERTER = BulkInsert(domains, ("name", "created_at"))


@contextmanager
def counted(database: Database) -> Iterator[tuple[Connection, list[str]]]:
    statements: list[str] = []
    with database.write() as conn:
        event.listen(
            conn, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        yield conn, statements


@pytest.mark.parametrize(
    ("rows", "statements"),
    [(0, 0), (1, 1), (2, 1), (15, 1), (17, 2), (512, 1), (1023, 7), (1200, 5)],
)
def test_rows_arrive_in_their_order(database: Database, rows: int, statements: int) -> None:
    new = [(f"{n}.mssante.fr", microseconds(NOW)) for n in range(rows)]
    with counted(database) as (conn, seen):
        INSERTER.insert(conn, new)
    assert len(seen) == statements
    with database.read() as conn:
        found = conn.execute(select(domains.c.name, domains.c.created_at).order_by(domains.c.id))
        assert [tuple(row) for row in found] == [(name, NOW) for name, _ in new]


def test_few_texts_are_ever_sent(database: Database) -> None:
    # So that the database keeps them prepared.
    texts: set[str] = set()
    done = 0
    for rows in range(1, 80):
        with counted(database) as (conn, seen):
            INSERTER.insert(conn, [(f"{done + n}.fr", 0) for n in range(rows)])
        done += rows
        texts |= set(seen)
    assert len(texts) == 18


def test_no_value_is_ever_part_of_the_text(database: Database) -> None:
    name = "'); drop table domains; --%s?"
    with counted(database) as (conn, seen):
        INSERTER.insert(conn, [(name, 0)])
    assert name not in seen[0]
    with database.read() as conn:
        assert conn.scalar(select(domains.c.name)) == name


def test_what_is_no_column() -> None:
    with pytest.raises(KeyError, match="colour"):
        BulkInsert(domains, ("name", "colour"))
