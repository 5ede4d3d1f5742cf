"""Destinations, as all machines know them, in table `destinations`: health, and pauses by hand."""

from collections.abc import Sequence
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


def forget_dead(connection: Connection, domains: Sequence[str]) -> None:
    """Declare these destinations alive, as before the first failure."""
    statement = update(destinations).where(destinations.c.domain.in_(domains))
    connection.execute(statement.values(failures=0, dead_until=None))


def pause(connection: Connection, domain: str, reason: str) -> None:
    """Pause a destination, or all with ALL; a pause in force gets the new reason."""
    connection.execute(insert_or_ignore(connection, destinations).values(domain=domain))
    where = destinations.c.domain == domain
    connection.execute(update(destinations).where(where).values(paused=reason))


def resume(connection: Connection, domain: str) -> bool:
    """End a pause and declare the destination alive; False if it was not paused."""
    d = destinations.c
    statement = update(destinations).where(d.domain == domain, d.paused.is_not(None))
    values = statement.values(paused=None, failures=0, dead_until=None)
    return connection.execute(values).rowcount > 0


def pauses(connection: Connection) -> dict[str, str]:
    """Return the paused destinations, ALL among them, with the reasons."""
    d = destinations.c
    statement = select(d.domain, d.paused).where(d.paused.is_not(None)).order_by(d.domain)
    return {row.domain: row.paused for row in connection.execute(statement)}
