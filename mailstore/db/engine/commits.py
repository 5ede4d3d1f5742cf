"""Commits in doubt: PostgreSQL reports success with a warning.

With a synchronous standby, a commit waits until the standby has it. A cancel of this wait
(`pg_cancel_backend`) ends it as a success with only a warning (PostgreSQL,
src/backend/replication/syncrep.c): this server has the transaction, its standby may not.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, text

from mailstore.errors import StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

WARNINGS: Final = "warnings of the server"
_MAX_WARNINGS: Final = 16  # warnings kept between two commits
# Warning of a filling NOTIFY queue: comes during a commit, which is certain all the same.
_HARMLESS: Final = frozenset({"async.c"})

HANGS_SECONDS: Final = 10.0  # longest commit in progress; beyond it, mail is deferred
# Sessions of our role on any machine; a role sees all of its own sessions.
_HANGING: Final = text("""
SELECT current_setting('synchronous_standby_names')
FROM pg_stat_activity
WHERE wait_event = 'SyncRep' AND datname = current_database() AND usename = current_user
  AND state_change < clock_timestamp() - make_interval(secs => :seconds)
LIMIT 1
""")


class CommitWarning(NamedTuple):
    """A warning of the server: source file, code, text."""

    source_file: str | None
    sqlstate: str | None
    text: str | None


def collect_warnings(connection: "DBAPIConnection", record: "ConnectionPoolEntry") -> None:
    """Collect PostgreSQL's warnings on a new connection, for `certain_commit`."""
    warnings: deque[CommitWarning] = deque(maxlen=_MAX_WARNINGS)
    record.info[WARNINGS] = warnings

    def note(diagnostic: Any) -> None:
        # Texts are in the server's language, and so is the localised severity.
        if diagnostic.severity_nonlocalized == "WARNING":
            # Copied, because the diagnostic is valid only during this call.
            warnings.append(
                CommitWarning(
                    diagnostic.source_file, diagnostic.sqlstate, diagnostic.message_primary
                )
            )

    connection.add_notice_handler(note)


@contextmanager
def certain_commit(connection: Connection) -> Iterator[None]:
    """Run a transaction on a connection; an end without an error is a certain commit.

    Raises StoreUnavailable if the server has warned about the commit.
    """
    warnings: deque[CommitWarning] = connection.info.get(WARNINGS, deque())
    with connection.begin():
        yield
        warnings.clear()
    for warning in warnings:
        if warning.source_file not in _HARMLESS:
            raise StoreUnavailable(
                f"the outcome is unknown: {warning.text} ({warning.sqlstate}): "
                "PostgreSQL has committed, its synchronous standby may not have it; never cancel "
                "what waits for SyncRep: bring the standby back, or take it out of "
                "synchronous_standby_names"
            )


def check_standby(connection: Connection) -> None:
    """Refuse a PostgreSQL whose commits wait for a missing standby.

    Each further commit would stay on the primary only, and its sender would send again. Raises
    StoreUnavailable.
    """
    names = connection.scalar(_HANGING, {"seconds": HANGS_SECONDS})
    if names is not None:
        raise StoreUnavailable(
            f"commits wait for a synchronous standby, and none of {names} has answered for "
            f"{HANGS_SECONDS:g} s; bring it back, or take it out of synchronous_standby_names"
        )
