"""Destinations, as all machines know them: paused and dead ones, in table `destinations`."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, case, literal, null, select, update

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.schema import UtcTime
from relay.queue.model import ALL, DestinationRow, DestinationTable
from relay.queue.schema import destinations

FORGOTTEN: Final = timedelta(hours=1)  # after a probe was due; a running courier probes in seconds


def read_destinations(connection: Connection) -> DestinationTable:
    """Read all rows."""
    c = destinations.c
    rows = connection.execute(
        select(c.domain, c.paused.is_not(None), c.failures, c.dead_until, c.last_error)
    )
    found = {domain: DestinationRow(*facts) for domain, *facts in rows}
    return DestinationTable(found, found.pop(ALL, DestinationRow()).paused)


def write_health(
    connection: Connection,
    domain: str,
    *,
    failures: int,
    dead_until: datetime | None,
    last_error: str,
) -> None:
    """Write that a destination died, is still dead, or is alive again."""
    connection.execute(insert_or_ignore(connection, destinations).values(domain=domain))
    connection.execute(
        update(destinations)
        .where(destinations.c.domain == domain)
        .values(failures=failures, dead_until=dead_until, last_error=last_error[:500])
    )


def begin_probe(connection: Connection, domain: str, now: datetime, until: datetime) -> bool:
    """Claim the next probe of a dead destination; False if not due, or claimed by another courier.

    If no courier probed for `FORGOTTEN`, the destination counts as alive again: so old a finding
    must not expire mail before an attempt.
    """
    c = destinations.c
    forgotten = c.dead_until <= now - FORGOTTEN
    statement = update(destinations).where(c.domain == domain, c.dead_until <= now)
    values = statement.values(
        failures=case((forgotten, 0), else_=c.failures),
        dead_until=case((forgotten, null()), else_=literal(until, UtcTime())),
    )
    return connection.execute(values).rowcount == 1
