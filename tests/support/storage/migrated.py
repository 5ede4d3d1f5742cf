"""Copies of a migrated SQLite database, for tests that make many."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from mssante_operator.assembly.database import migrations
from tests.support.db.databases import roomy_memory


@functools.cache
def _template() -> Path:
    folder = tempfile.mkdtemp(prefix="mssante-migrated-", dir=roomy_memory())
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


def migrated_copy(path: Path) -> Path:
    """Copy the database to a path; returns the path."""
    shutil.copyfile(_template(), path)
    return path
