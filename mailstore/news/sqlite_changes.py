"""Changed mailboxes of a SQLite database, found by a private connection that only reads.

`PRAGMA data_version` changes with each commit of another connection, in any process, and takes some
microseconds. Only then are rows read: new entries, and rows of `mailbox_news` with a new number. A
checkpoint changes it too; reading finds nothing then. SQLite has one writer, so ids and numbers
rise in the order of commits.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

_BATCH: Final = 10_000  # entries read at once
_VERSION: Final = "PRAGMA data_version"
_LAST_ENTRY: Final = "SELECT COALESCE(max(id), 0) FROM entries"
_LAST_NUMBER: Final = "SELECT COALESCE(max(number), 0) FROM mailbox_news"
_ENTRIES: Final = "SELECT id, mailbox_id FROM entries WHERE id > ? ORDER BY id LIMIT ?"
_NUMBERS: Final = "SELECT number, mailbox_id FROM mailbox_news WHERE number > ? ORDER BY number"


class SqliteChanges:
    """Changes of a database since `start`, or since the last `read`; one thread at a time.

    `start` and `read` may wait for the disk, the others take some microseconds. All raise
    sqlite3.Error; a missing file is not created.
    """

    def __init__(self, path: Path) -> None:
        # No timeout: `moved` is asked in the event loop.
        self._connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        self._version = self._last_entry = self._last_number = 0

    def start(self) -> None:
        """Note where the database is: what changes from here on will be found."""
        self._connection.execute("PRAGMA query_only=ON")
        self._version = self._number(_VERSION)  # first: a commit from here on is found again
        self._last_entry = self._number(_LAST_ENTRY)
        self._last_number = self._number(_LAST_NUMBER)

    def moved(self) -> bool:
        """True if anything was committed since the last `read`."""
        return self._number(_VERSION) != self._version

    def read(self) -> set[int]:
        """Mailboxes changed since the last `read`. After an error, the next one has them too."""
        version = self._number(_VERSION)
        found: set[int] = set()
        entry, full = self._last_entry, True
        while full:
            rows = self._connection.execute(_ENTRIES, (entry, _BATCH)).fetchall()
            found.update(mailbox for _, mailbox in rows)
            entry = rows[-1][0] if rows else entry
            full = len(rows) == _BATCH
        number = self._last_number
        for row in self._connection.execute(_NUMBERS, (number,)):
            number, mailbox = row
            found.add(mailbox)
        self._version, self._last_entry, self._last_number = version, entry, number
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])


@contextmanager
def suppress_busy() -> Iterator[None]:
    """Suppress an error that passes within moments: another connection holds a lock."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            raise
