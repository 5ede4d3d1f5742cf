"""Quotas of a mailbox and of its domain: use, limit, share, and warnings at 80 and 95 %.

Arriving mail is judged at RCPT (`relay.acceptance.recipient_lookup`); here is the judgement of what
people add. New mail that nobody has looked at counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from mailstore.db.schema import domains, mailboxes
from mailstore.errors import NotFound, OverQuota
from mailstore.mailboxes.changes import note_change
from mailstore.mailboxes.mailboxes import get_domain
from mailstore.mailboxes.model import Domain
from mailstore.mailboxes.usage import used_by_domain, used_octets

LEVELS: Final = (95, 80)  # percent of the quota at which the holder is warned
LEFT_BELOW: Final = 5  # points below a level at which it is left, to be told again

_QUOTAS = (
    select(mailboxes.c.quota, mailboxes.c.domain_id, domains.c.quota.label("domain_quota"))
    .join_from(mailboxes, domains)
    .where(mailboxes.c.id == bindparam("mailbox"))
)
_LIMITS = select(domains.c.id, domains.c.quota).where(domains.c.quota.is_not(None))


@dataclass(frozen=True, slots=True)
class Quota:
    """Octets in use, and their limit; None for no limit."""

    used: int
    limit: int | None

    @property
    def share(self) -> float | None:
        """Share of the quota in use, in percent; None without a limit."""
        if self.limit is None:
            return None
        return 100.0 * self.used / self.limit if self.limit else 100.0

    @property
    def percent(self) -> int | None:
        """Share in whole percent, never rounded up; None without a limit."""
        return None if self.share is None else int(self.share)

    @property
    def level(self) -> int:
        """Level of warning that the share has reached: 0, 80 or 95."""
        share = self.share
        return 0 if share is None else next((one for one in LEVELS if share >= one), 0)

    def takes(self, octets: int) -> bool:
        """True if there is room for as many octets."""
        return self.limit is None or self.used + octets <= self.limit


def mailbox_quota(conn: Connection, mailbox_id: int) -> Quota:
    """Quota of a mailbox and its use. Raises NotFound."""
    return Quota(used_octets(conn, mailbox_id).octets, _quotas(conn, mailbox_id)[0])


def domain_quota(conn: Connection, name: str) -> Quota:
    """Quota of a domain and the use of all its mailboxes; costs a row for each. Raises NotFound."""
    domain = get_domain(conn, name)
    limit = conn.scalar(select(domains.c.quota).where(domains.c.id == domain.id))
    return Quota(used_by_domain(conn, domain.id), limit)


def domain_limits(conn: Connection) -> dict[int, int]:
    """Quotas of domains by domain id, of those that have one."""
    return {row[0]: row[1] for row in conn.execute(_LIMITS)}


def domain_quotas(
    conn: Connection, found: Iterable[Domain]
) -> Iterator[tuple[Domain, Quota | None]]:
    """The domains with their quotas; None, and nothing summed, for one without."""
    limits = domain_limits(conn)
    for one in found:
        limit = limits.get(one.id)
        yield one, None if limit is None else Quota(used_by_domain(conn, one.id), limit)


def set_domain_quota(conn: Connection, name: str, quota: int | None) -> Domain:
    """Set the quota of a hosted domain, in octets (None: no limit). Raises NotFound.

    Present messages stay, even beyond the quota.
    """
    domain = get_domain(conn, name)
    conn.execute(update(domains).where(domains.c.id == domain.id).values(quota=quota))
    note_change(conn)
    return domain


def check_room(conn: Connection, mailbox_id: int, octets: int) -> None:
    """Raise OverQuota if the mailbox or its domain has no room for as many octets; NotFound."""
    limit, domain_id, domain_limit = _quotas(conn, mailbox_id)
    if limit is not None and not Quota(used_octets(conn, mailbox_id).octets, limit).takes(octets):
        raise OverQuota(f"the mailbox's quota of {limit} octets has no room for {octets} more")
    if domain_limit is not None:
        domain = Quota(used_by_domain(conn, domain_id), domain_limit)
        if not domain.takes(octets):
            raise OverQuota(f"the domain's quota of {domain_limit} octets has no room for that")


def level_after(quota: Quota, told: int) -> int:
    """Level that counts as told from now on, after the level `told`: 0, 80 or 95.

    Above `told`: the holder is to be told. A level is left only `LEFT_BELOW` points below it, so
    that nobody is told again and again at its edge.
    """
    share = quota.share
    if share is None or quota.level >= told:
        return quota.level
    return next((one for one in LEVELS if one <= told and share >= one - LEFT_BELOW), 0)


def _quotas(conn: Connection, mailbox_id: int) -> tuple[int | None, int, int | None]:
    row = conn.execute(_QUOTAS, {"mailbox": mailbox_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no mailbox {mailbox_id}")
    return row.quota, row.domain_id, row.domain_quota
