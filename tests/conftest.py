"""Fixtures that all tests share."""

from tests.support.databases import (
    database,
    database_url,
    dialect,
    empty_database_url,
    postgres_server,
    postgres_template,
    sqlite_template,
)

__all__ = [
    "database",
    "database_url",
    "dialect",
    "empty_database_url",
    "postgres_server",
    "postgres_template",
    "sqlite_template",
]
