"""Removing a domain: it is hosted no longer, and its addresses are never given again."""

from datetime import datetime

from sqlalchemy import Connection, func, or_, select, update

from mailstore.db.schema import aliases, domains, mailboxes
from mailstore.errors import Conflict
from mailstore.mailboxes.address import parse_domain
from mailstore.mailboxes.mailboxes import get_domain, lock_domain
from mailstore.mailboxes.model import Domain


def check_removable(conn: Connection, name: str, *, now: datetime) -> Domain:
    """Return a domain that nothing needs any more.

    Raises NotFound; Conflict while it has a mailbox whose content is not erased, or an alias that
    has not ended.
    """
    domain = get_domain(conn, parse_domain(name))
    box = mailboxes.c
    present = or_(box.deleted_at.is_(None), box.erase_after.is_not(None))
    count, first = conn.execute(
        select(func.count(), func.min(box.address)).where(box.domain_id == domain.id, present)
    ).one()
    if count:
        raise Conflict(
            f"{domain.name} has {count} mailboxes, as {first}: delete them, and wait until their"
            " content is erased"
        )
    alias = aliases.c
    lasting = or_(alias.ends_at.is_(None), alias.ends_at > now)
    count, first = conn.execute(
        select(func.count(), func.min(alias.address)).where(alias.domain_id == domain.id, lasting)
    ).one()
    if count:
        raise Conflict(f"{domain.name} has {count} aliases, as {first}: end them first")
    return domain


def remove_domain(conn: Connection, name: str, *, now: datetime) -> Domain:
    """Host a domain no longer, in a write transaction. Raises as `check_removable`."""
    lock_domain(conn, parse_domain(name))  # no mailbox is added meanwhile
    domain = check_removable(conn, name, now=now)
    conn.execute(update(domains).where(domains.c.id == domain.id).values(removed_at=now))
    return domain
