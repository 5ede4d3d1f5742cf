"""PostgreSQL of this test process on a port, for tests that freeze it or change its settings.

It uses the first installed build.  A test must undo its changes; it makes its own databases and
roles, with names from `fresh`.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg import sql

from mssante_operator.assembly.database import migrations
from tests.support.db.databases import roomy_memory
from tests.support.db.postgresql import Server, builds, servers_user
from tests.support.waiting import until_now

_TEMPLATE = "template_migrated"
_numbers = itertools.count()


@contextmanager
def running() -> Iterator[Server]:
    """Run a new server without databases of ours."""
    # Not below pytest's own folder: run as root, the server is another user without access to it.
    folder = Path(tempfile.mkdtemp(prefix="mssante-own-", dir=roomy_memory()))
    if os.geteuid() == 0:
        shutil.chown(folder, servers_user())
    server = Server(builds()[0], folder / "data")
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def own_server() -> Iterator[Server]:
    with running() as server:
        server.ask(f"CREATE DATABASE {_TEMPLATE}")
        migrations.upgrade(server.url(_TEMPLATE))
        yield server


@pytest.fixture
def own_database(own_server: Server) -> Iterator[str]:
    """Name of a new database with the schema and no rows."""
    name = fresh("db")
    own_server.ask(_with("CREATE DATABASE {} TEMPLATE {}", name, _TEMPLATE))
    yield name
    own_server.ask(_with("DROP DATABASE {} WITH (FORCE)", name))


def fresh(kind: str) -> str:
    """Unused name."""
    return f"{kind}_{next(_numbers)}"


def _with(statement: LiteralString, *names: str) -> LiteralString:
    return sql.SQL(statement).format(*map(sql.Identifier, names)).as_string()


def make_role(server: Server, password: str = "") -> str:
    """Role that may only log in; with a password if given.

    Roles `scram_…` must log in with their password, all others need none.
    """
    role = fresh("scram" if password else "role")
    server.ask(_with("CREATE ROLE {} LOGIN", role))
    if password:
        set_password(server, role, password)
        access = server.data / "pg_hba.conf"
        rule = f'host all "{role}" 127.0.0.1/32 scram-sha-256\n'
        access.write_text(rule + access.read_text())
        server.ask("SELECT pg_reload_conf()")
        seen = "SELECT count(*) FROM pg_hba_file_rules WHERE %s = ANY (user_name)"
        until_now(lambda: server.ask(seen, role) == [(1,)])
    return role


def set_password(server: Server, role: str, password: str) -> None:
    """Change the password of a role."""
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password)
    server.ask(statement.as_string())


@contextmanager
def setting(server: Server, name: str, value: str) -> Iterator[None]:
    """Change settings of the whole server during the block, as in postgresql.conf."""
    shown = sql.SQL("SHOW {}").format(sql.Identifier(name)).as_string()
    ((before,),) = server.ask(shown)
    alter = sql.SQL("ALTER SYSTEM SET {} = {}")

    def become(wanted: str) -> None:
        server.ask(alter.format(sql.Identifier(name), wanted).as_string())
        server.ask("SELECT pg_reload_conf()")
        until_now(lambda: server.ask(shown) == [(wanted,)])

    become(value)
    try:
        yield
    finally:
        become(before)
