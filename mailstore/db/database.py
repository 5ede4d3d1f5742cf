"""A database, SQLite or PostgreSQL, and its transactions.

Promises: at the end of `write()` without an error, the transaction is on disk. An error of the
database itself is always StoreUnavailable. A second writer waits. Calls block: asynchronous callers
use a thread. Thread-safe; not shared between processes.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, inspect, text

from mailstore.db.database_url import parse_url
from mailstore.db.dialect import (
    checkpoints_of,
    create_engines,
    probe_writing,
    rows_changed,
    write_lock_of,
)
from mailstore.db.engine.commits import certain_commit, check_standby
from mailstore.db.engine.driver_errors import unavailable_if_unwell
from mailstore.db.schema import messages
from mailstore.db.sealed_columns import NO_SEAL, TextSeal, attach_seal

if TYPE_CHECKING:
    import sqlite3

PROBE_SECONDS = 4.0  # twice this must be less than the disk guard's timeout for the store


class Database:
    """A database: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; a Path means SQLite.

    `pool_size` limits the connections of this process, and so its concurrent transactions (SQLite:
    of readers; a single one writes). A missing SQLite file is created, readable by its owner alone.
    `seal` is for its sealed columns; without it they are written in clear, and sealed values are
    unreadable. Raises InvalidDatabaseUrl, and StoreUnavailable for a file that cannot be opened.
    """

    def __init__(self, url: str | Path, *, pool_size: int = 8, seal: TextSeal = NO_SEAL) -> None:
        self.url = parse_url(url)
        self.seal = seal
        self._writer, self._reader = create_engines(self.url, pool_size)
        for engine in (self._writer, self._reader):
            attach_seal(engine, seal)
        self._turn = write_lock_of(self.url)
        self._checkpoints = checkpoints_of(self.url, self._reader, self._turn)

    @property
    def several(self) -> bool:
        """True if several machines may share the database; SQLite is for one machine."""
        return self.url.get_backend_name() != "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a read-only transaction; a write in it is refused. Raises StoreUnavailable."""
        with unavailable_if_unwell(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a write transaction: durable at its end, rolled back by any exception.

        On SQLite it is the only writer from its start (BEGIN IMMEDIATE), and waits up to 30 seconds
        for the write lock. Raises StoreUnavailable, also for a commit in doubt.
        """
        with (
            self._turn.held(),
            unavailable_if_unwell(),
            self._writer.connect() as connection,
            certain_commit(connection),
        ):
            yield connection
            rows = rows_changed(connection)
        if self._checkpoints is not None:
            self._checkpoints.written(rows)

    def probe(self, timeout: float = PROBE_SECONDS) -> None:
        """Check that a write transaction can begin now; nothing is written.

        Waits up to `timeout` seconds, twice that if another process of ours is writing. Raises
        StoreUnavailable.
        """
        with self._turn.held(timeout), unavailable_if_unwell():
            probe_writing(self._writer, messages, timeout)

    def check_commits(self) -> None:
        """Check that a commit would end; on SQLite it always does. Raises StoreUnavailable."""
        if self.several:
            with self.read() as connection:
                check_standby(connection)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Lend a writing connection without a transaction, for schema migrations."""
        with unavailable_if_unwell(), self._writer.connect() as connection:
            yield connection

    def file_octets(self) -> int:
        """Octets of SQLite's file; 0 elsewhere."""
        return 0 if self.several else Path(str(self.url.database)).stat().st_size

    def rewrite_file(self) -> bool:
        """Write SQLite's file anew and empty its log, so that nothing removed stays in them.

        False if a reader held it up: call it again. Other writers wait, a second for some 100 MB.
        On PostgreSQL nothing is done: its vacuum frees the room. Raises StoreUnavailable.
        """
        if self._checkpoints is None:
            return True
        with (
            self._turn.held(),
            unavailable_if_unwell(),
            closing(self._writer.raw_connection()) as pooled,
        ):
            return self._checkpoints.rewrite(cast("sqlite3.Connection", pooled.driver_connection))

    def schema_revision(self) -> str | None:
        """Alembic revision of the schema, None without a schema."""
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            revision: str | None = connection.scalar(
                text("SELECT version_num FROM alembic_version")
            )
            return revision

    def close(self) -> None:
        """Close the pooled connections; the last close of a SQLite file empties its WAL into it."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._reader.dispose()
        self._writer.dispose()
        self._turn.close()
