"""A database, SQLite or PostgreSQL, and transactions in it.

Promises: when `write()` ends without an error, its transaction is on disk; an error that means the
database is unwell is always StoreUnavailable; a second writer waits. Calls block: asynchronous
callers make them in a thread. Shared freely between threads, not between processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from mailstore.db.commits import check_standby, doubtless
from mailstore.db.database_url import parse_url
from mailstore.db.dialect import (
    checkpoints_of,
    create_engines,
    probe_writing,
    rows_changed,
    turn_of,
)
from mailstore.db.driver_errors import unavailable_if_unwell
from mailstore.db.schema import messages

PROBE_SECONDS = 4.0  # twice this is less than the spool guard gives a store to answer


class Database:
    """One database: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; a Path is SQLite's.

    `pool_size` bounds the connections of this process, and so the threads that are in a transaction
    at once (SQLite: that read at once; one writes). A missing SQLite file is created, readable by
    its owner alone. Raises InvalidDatabaseUrl, and StoreUnavailable for a file it cannot open.
    """

    def __init__(self, url: str | Path, *, pool_size: int = 8) -> None:
        self.url = parse_url(url)
        self._writer, self._reader = create_engines(self.url, pool_size)
        self._turn = turn_of(self.url)
        self._checkpoints = checkpoints_of(self.url, self._reader, self._turn)

    @property
    def several(self) -> bool:
        """Whether machines may share it; a SQLite file has one."""
        return self.url.get_backend_name() != "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that only reads; a write in it is refused. Raises StoreUnavailable."""
        with unavailable_if_unwell(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction that writes: durable at its end, undone by any exception.

        On SQLite it is the only writer from its first moment (BEGIN IMMEDIATE), and waits up to 30
        seconds for the one before it. Raises StoreUnavailable, also where a commit is in doubt.
        """
        with (
            self._turn.taken(),
            unavailable_if_unwell(),
            self._writer.connect() as connection,
            doubtless(connection),
        ):
            yield connection
            rows = rows_changed(connection)
        if self._checkpoints is not None:
            self._checkpoints.written(rows)

    def probe(self, patience: float = PROBE_SECONDS) -> None:
        """Find out whether a transaction that writes can begin now; nothing is written.

        Waits up to `patience` seconds, twice where another process of ours is writing. Raises
        StoreUnavailable.
        """
        with self._turn.taken(patience), unavailable_if_unwell():
            probe_writing(self._writer, messages, patience)

    def check_commits(self) -> None:
        """Find out whether a commit would end; SQLite's do.  Raises StoreUnavailable."""
        if self.several:
            with self.read() as connection:
                check_standby(connection)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Lend a writing connection without a transaction, for the schema's migrations."""
        with unavailable_if_unwell(), self._writer.connect() as connection:
            yield connection

    def schema_revision(self) -> str | None:
        """Tell the Alembic revision of the schema, None where there is none yet."""
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            revision: str | None = connection.scalar(
                text("SELECT version_num FROM alembic_version")
            )
            return revision

    def close(self) -> None:
        """Close the pooled connections; the last one of a SQLite file empties its WAL into it."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._reader.dispose()
        self._writer.dispose()
        self._turn.close()
