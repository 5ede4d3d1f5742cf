"""Fixtures that all tests share."""

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

__all__ = [
    "database",
    "database_url",
    "dialect",
    "empty_database_url",
    "object_server",
    "postgres_server",
    "postgres_template",
    "sqlite_template",
]
