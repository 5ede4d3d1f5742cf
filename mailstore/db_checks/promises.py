"""Promises of docs/durability.md that a PostgreSQL does not keep, a line each."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from mailstore.db.database import Database
from mailstore.db_checks.catalogue import SESSION, quoted

# Safe value of each setting, and the loss without it.
_SAFE = {
    "fsync": ("on", "a power cut or a system crash can lose all messages"),
    "full_page_writes": ("on", "a power cut can damage half-written pages, and messages with them"),
    "data_sync_retry": ("off", "data that the disk did not sync may count as synced, and be lost"),
}
_SETTINGS = text("SELECT name, setting FROM pg_settings WHERE name = ANY (:names)")

# A role without pg_monitor sees the number of standbys, but not their state.
_STANDBYS = text(
    "SELECT count(*) AS there, count(sync_state) AS seen,"
    " count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous"
    " FROM pg_stat_replication"
)

# Settings made by `mailstore.db.engine.postgresql` for each session.
_OURS = (
    "client_encoding",
    "datestyle",
    "default_transaction_isolation",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "timezone",
    "transaction_timeout",
)
_OVERRIDDEN = text("""
SELECT s.setrole <> 0 AS of_role, one AS assignment, split_part(one, '=', 1) AS name
FROM pg_db_role_setting AS s, unnest(s.setconfig) AS one
WHERE s.setrole IN (0, current_user::regrole)
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND lower(split_part(one, '=', 1)) = ANY (:names)
ORDER BY one
""")


@dataclass(frozen=True, slots=True)
class DurabilityPromises:
    """`doubts`: likely mistakes, each with loss and fix; `standby`: the state of replication."""

    doubts: tuple[str, ...] = ()
    standby: str = ""


def promises(database: Database, *, alone: bool) -> DurabilityPromises:
    """Examine a PostgreSQL; SQLite has no findings. Raises StoreUnavailable.

    `alone`: a single machine uses it and keeps bodies on its own disk. Without a standby it loses
    no more than with a database file, so this is no doubt.
    """
    if database.url.get_backend_name() == "sqlite":
        return DurabilityPromises()
    with database.read() as connection:
        told, doubted = _replication(connection, alone=alone)
        found = [*_unsafe(connection), *([told] if doubted else []), *_overridden(connection)]
        return DurabilityPromises(tuple(found), "" if doubted else told)


def _unsafe(connection: Connection) -> Iterator[str]:
    for name, setting in connection.execute(_SETTINGS, {"names": [*_SAFE]}):
        safe, loss = _SAFE[name]
        if setting != safe:
            yield (
                f"the server has {name} = {setting}: {loss}; "
                f"run: ALTER SYSTEM SET {name} = {safe}, and restart it"
            )


def _replication(connection: Connection, *, alone: bool) -> tuple[str, bool]:
    """Return the line about standbys, and whether it is a doubt."""
    names = connection.scalar(text("SHOW synchronous_standby_names"))
    commit = connection.scalar(text("SHOW synchronous_commit"))
    found = connection.execute(_STANDBYS).one()
    doubt = True
    if not names and not found.there:
        doubt = not alone
        told = "no standby: a lost database disk loses all mail since the last backup"
    elif not names:
        told = (
            "no synchronous standby: a fail-over loses the mail accepted last; "
            "set synchronous_standby_names"
        )
    elif commit not in {"on", "remote_apply"}:
        told = (
            f"synchronous_commit is {commit}: a fail-over may lose the mail accepted last; "
            "set it to on"
        )
    elif not found.there or (found.seen == found.there and not found.synchronous):
        told = (
            f"no standby of synchronous_standby_names ({names}) connected: commits wait, and mail "
            "is deferred until it is back"
        )
    else:
        doubt = False
        told = f"commits wait for a synchronous standby ({names})"
    return told, doubt


def _overridden(connection: Connection) -> Iterator[str]:
    session = connection.execute(SESSION).one()
    for one in connection.execute(_OVERRIDDEN, {"names": [*_OURS]}):
        whose = (
            f"ROLE {quoted(session.role)}"
            if one.of_role
            else f"DATABASE {quoted(session.database)}"
        )
        yield (
            f"ALTER {whose} SET {one.assignment} has no effect: each session sets its own value; "
            f"put it in the URL (?options=-c%20{one.assignment}), or run: ALTER {whose} RESET "
            f"{one.name}"
        )
