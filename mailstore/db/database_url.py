"""Parser of the database URL; errors never repeat its password."""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from mailstore.errors import InvalidDatabaseUrl

_MISREAD: Final = frozenset("@/?#")  # must not occur before the @ that ends user and password


def parse_url(url: str | Path) -> URL:
    """Parse a database URL, or the path of a SQLite file; return it with the driver.

    A path is never put into a URL, where `?`, `#` and `%41` have a meaning. Raises
    InvalidDatabaseUrl.
    """
    if isinstance(url, Path):
        return URL.create("sqlite+pysqlite", database=str(url.absolute()))
    expected = "expected sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may contain a password and is not repeated.
        raise InvalidDatabaseUrl(f"the database URL cannot be read: {expected}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if parsed.database in {None, "", ":memory:"}:
                raise InvalidDatabaseUrl(f"{url!r} names no file: {expected}")
            if "?" in url:
                raise InvalidDatabaseUrl(
                    f"{url!r}: SQLite takes no options; in a path write ? as %3F and % as %25, or "
                    "leave the URL empty for the file in the storage folder"
                )
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgresql+psycopg":
            if not _MISREAD.isdisjoint(url.partition("://")[2].rpartition("@")[0]):
                # Else a part of the password would be parsed, and reported, as the host.
                raise InvalidDatabaseUrl(
                    "the database URL cannot be read: write @ as %40, / as %2F, ? as %3F and # as "
                    "%23 in the user and the password"
                )
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise InvalidDatabaseUrl(f"{other!r} is not a database we take: {expected}")
