"""The schema's migrations: what `mssante db upgrade` and `mssante db current` do.

Alembic is configured in code: the migrations are found inside the installed package, and there is
no alembic.ini to lose. One run takes place at a time, whatever the number of machines; after a
failure the schema is that of the last migration that ended (SQLite: that before the run).
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

_MIGRATIONS = "mssante_operator.migrations"
_DAMAGED = "the installation is damaged: its migrations are missing; install it again"


def upgrade(url: str | Path, revision: str = "head") -> None:
    """Bring a database's schema up to a revision, the newest by default; its rows stay.

    Raises InvalidDatabaseUrl; StoreUnavailable, also where another run or a busy table holds it up;
    UnfitDatabase; MailstoreError for a schema newer than this software.
    """
    with closing(Database(url, pool_size=1)) as database:
        check_upgrade(database)
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str | Path, revision: str) -> None:
    """Take a schema back to a revision, 'base' for none; what newer tables held is lost."""
    _run(url, lambda config: command.downgrade(config, revision))


def current(url: str | Path) -> str | None:
    """Tell the revision of a database's schema, None where there is none yet."""
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
            f"the schema cannot be migrated: {error}; a revision that cannot be located was made by"
            " a newer version of this software"
        ) from error
    finally:
        database.close()


def _config() -> Config:
    # importlib.resources cannot read a namespace package that is installed editable: the path of
    # one of its modules is known either way.
    spec = find_spec(f"{_MIGRATIONS}.env")
    if spec is None or spec.origin is None:
        raise MailstoreError(_DAMAGED)
    config = Config()
    config.set_main_option("script_location", str(Path(spec.origin).parent).replace("%", "%%"))
    return config
