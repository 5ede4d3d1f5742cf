"""Probe of the database: detects another program that keeps the write lock."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable


@contextmanager
def _lock_held(database: Database) -> Iterator[None]:
    """Another program that blocks all writers: a shell, a backup, a migration."""
    if database.url.get_backend_name() == "sqlite":
        holder = sqlite3.connect(str(database.url.database), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.close()
        return
    other = Database(database.url.render_as_string(hide_password=False))
    try:
        with other.write() as connection:
            connection.execute(text("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"))
            yield
    finally:
        other.close()


def test_the_probe_tells_of_a_write_lock_held_by_another_program(database: Database) -> None:
    database.probe(0.2)
    with _lock_held(database):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="lock"):
            database.probe(0.2)
        assert time.monotonic() - begun < 10  # a writer would wait 30 seconds
    database.probe(0.2)


def test_the_probe_goes_beside_readers_and_after_writers(database: Database) -> None:
    with database.read() as connection:
        connection.execute(text("SELECT count(*) FROM messages"))
        database.probe(5)
    with database.write() as connection:
        connection.execute(text("SELECT count(*) FROM messages"))
    database.probe(5)


def test_the_probe_makes_no_database_where_the_file_has_gone(tmp_path: Path) -> None:
    # An empty database in its place would look like a store that has lost all its mail.
    path = tmp_path / "50% ?a#b.db"
    database = Database(path)
    try:
        with database.write() as connection:
            connection.execute(text("CREATE TABLE messages (id INTEGER)"))
        database.probe(0.2)
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(StoreUnavailable, match="takes no writes"):
            database.probe(0.2)
        assert list(tmp_path.iterdir()) == []
    finally:
        database.close()
