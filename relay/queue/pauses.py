"""Pauses: operators pause and resume destinations, and declare dead ones alive."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from mailstore.db.dialect import insert_or_ignore
from relay.queue.schema import destinations


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
