"""Migrations of the schema, for `mssante db upgrade` and `mssante db current`.

Alembic is configured in code: the migrations are in the installed package, without an alembic.ini.
Only one run takes place at a time, over all machines.  After a failure the schema is at the last
completed migration (SQLite: as before the run).
"""

from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from mailstore.db.database import Database
from mailstore.db.dialect import exclusive_migration
from mailstore.errors import MailstoreError

from .database_check import check_upgrade
from .other_machines import check_alone

_MIGRATIONS = "mssante_operator.migrations"
_DAMAGED = "damaged installation: migrations are missing; install mssante again"


def upgrade(url: str | Path, revision: str = "head", *, own: str | None = None) -> None:
    """Bring the schema up to a revision, by default the newest.  Rows are kept.

    `own`: name of this machine, if it has one; no other may run an older version.
    Raises InvalidDatabaseUrl; StoreUnavailable, also if another run or a busy table holds it up;
    UnfitDatabase; OtherMachineRuns; MailstoreError if the schema is newer than this software.
    """
    with closing(Database(url, pool_size=1)) as database:
        check_upgrade(database)
        check_alone(database, own)
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str | Path, revision: str) -> None:
    """Take the schema back to a revision, 'base' for none.  Data in newer tables is lost."""
    _run(url, lambda config: command.downgrade(config, revision))


def current(url: str | Path) -> str | None:
    """Revision of the schema; None if there is no schema yet."""
    database = Database(url, pool_size=1)
    try:
        return database.schema_revision()
    finally:
        database.close()


def _run(url: str | Path, run: Callable[[Config], None]) -> None:
    database = Database(url, pool_size=1)
    try:
        with database.connect() as connection, exclusive_migration(connection):
            config = _config()
            config.attributes["connection"] = connection
            run(config)
    except CommandError as error:
        raise MailstoreError(
            f"schema migration failed: {error}; an unknown revision comes from a newer version of "
            "this software"
        ) from error
    finally:
        database.close()


def _config() -> Config:
    # importlib.resources cannot read a namespace package of an editable install.  The path of a
    # module in it works in both cases.
    spec = find_spec(f"{_MIGRATIONS}.env")
    if spec is None or spec.origin is None:
        raise MailstoreError(_DAMAGED)
    config = Config()
    config.set_main_option("script_location", str(Path(spec.origin).parent).replace("%", "%%"))
    return config
