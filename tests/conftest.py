"""Fixtures that all tests share."""

import os

import tests.support.profiles  # noqa: F401  # loads the profile of hypothesis in force
from tests.support.databases import (
    database,
    database_url,
    dialect,
    empty_database_url,
    postgres_server,
    postgres_template,
    sqlite_template,
)
from tests.support.object_server import object_server
from tests.support.own_server import own_database, own_server

__all__ = [
    "database",
    "database_url",
    "dialect",
    "empty_database_url",
    "object_server",
    "own_database",
    "own_server",
    "postgres_server",
    "postgres_template",
    "sqlite_template",
]


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: half of a test's time it waits, for disks and for processes to start."""
    return 2 * (os.cpu_count() or 1)
