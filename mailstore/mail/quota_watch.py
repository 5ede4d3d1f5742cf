"""Mailboxes and domains whose quota is watched, and the level that was told of each.

A page costs the same on any number of mailboxes: partial indexes hold those with a quota, and those
that were told of a level.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    func,
    select,
    text,
    update,
)

from mailstore.db.folder_schema import mailbox_state
from mailstore.db.schema import domains, entries, mailboxes
from mailstore.folders.lock import lock_mailbox
from mailstore.mail.quota import LEVELS, Quota, level_after, mailbox_quota
from mailstore.mailboxes.usage import used_by_mailbox

PAGE: Final = 500  # mailboxes
NEW_PAGE: Final = 5_000  # entries


class WatchedMailbox(NamedTuple):
    """A mailbox, its quota and use in octets, and the level told last: 0, 80 or 95."""

    mailbox_id: int
    address: str
    quota: Quota
    told: int

    @property
    def level(self) -> int:
        """Level to count as told from now on."""
        return level_after(self.quota, self.told)


class WatchedDomain(NamedTuple):
    """A hosted domain with a quota, or that was told of one; the level told last."""

    domain_id: int
    name: str
    limit: int | None
    told: int


def ids_with_quota(conn: Connection, after: int, limit: int = PAGE) -> Sequence[int]:
    """Mailboxes with a quota above the id `after`, a page in the order of ids."""
    return conn.scalars(_WITH_QUOTA, {"after": after, "most": limit}).all()


def ids_told(conn: Connection, after: int, limit: int = PAGE) -> Sequence[int]:
    """Mailboxes told of a level above the id `after`, a page in the order of ids."""
    return conn.scalars(_TOLD, {"after": after, "most": limit}).all()


def ids_with_new(
    conn: Connection, after: int, limit: int = NEW_PAGE
) -> tuple[Collection[int], int | None]:
    """Mailboxes with a quota that got one of the next entries above `after`; the last entry.

    None: there is no further entry.
    """
    rows = conn.execute(_NEW, {"after": after, "most": limit}).all()
    return {box for _, box, quota in rows if quota is not None}, rows[-1][0] if rows else None


def last_entry(conn: Connection) -> int:
    """Number of the newest entry; 0: none."""
    return conn.scalar(_LAST) or 0


def crossing(conn: Connection, mailbox_ids: Collection[int]) -> list[WatchedMailbox]:
    """Mailboxes whose level differs from the one told, as far as a quick look can tell."""
    ids = sorted(mailbox_ids)
    used = used_by_mailbox(conn, ids)
    found = [
        WatchedMailbox(box, address, Quota(used.get(box, 0), limit if here else None), told or 0)
        for box, address, limit, here, told in conn.execute(_WATCHED, {"mailboxes": ids})
    ]
    return [one for one in found if one.level != one.told]


def note_told(conn: Connection, one: WatchedMailbox) -> bool:
    """Note that the level of `one` is told; False if another machine did, or it is no longer so.

    Needs a write transaction, and locks the mailbox until its end.
    """
    lock = lock_mailbox(conn, one.mailbox_id)
    told = conn.scalar(_TOLD_OF, {"mailbox": one.mailbox_id})
    quota = mailbox_quota(conn, one.mailbox_id)
    if one.quota.limit is None:
        quota = one.quota  # of a deleted mailbox, whose quota counts no more
    if told != one.told or level_after(quota, told) != one.level:
        return False
    state = mailbox_state.c.mailbox_id == lock.mailbox_id
    conn.execute(update(mailbox_state).where(state).values(quota_told=one.level))
    return True


def watched_domains(conn: Connection) -> list[WatchedDomain]:
    """Hosted domains with a quota, and those told of one that they no longer have."""
    return [WatchedDomain(*row) for row in conn.execute(_DOMAINS)]


def note_domain_told(conn: Connection, one: WatchedDomain, level: int) -> bool:
    """Note the level told of a domain's quota; False if another machine was faster."""
    before = (domains.c.id == one.domain_id, domains.c.quota_told == one.told)
    return conn.execute(update(domains).where(*before).values(quota_told=level)).rowcount == 1


def told_mailboxes(conn: Connection) -> dict[int, int]:
    """Number of mailboxes by the level told last, 80 and 95."""
    found = {row[0]: row[1] for row in conn.execute(_COUNTED)}
    return {level: found.get(level, 0) for level in LEVELS}


_BOX, _STATE = mailboxes.c, mailbox_state.c
# Written as in the partial index, else SQLite would not use it: a Boolean would get `= 1` there.
_LEVEL_TOLD = text("mailbox_state.quota_told > 0")
_IDS: BindParameter[int] = bindparam("mailboxes", expanding=True)

_WITH_QUOTA = (
    select(_BOX.id)
    .where(_BOX.quota.is_not(None), _BOX.id > bindparam("after"))
    .order_by(_BOX.id)
    .limit(bindparam("most"))
)
# An expression: by the primary key, SQLite would read the whole table in its order.
_TOLD_ID = _STATE.mailbox_id + 0
_TOLD = (
    select(_STATE.mailbox_id)
    .where(_LEVEL_TOLD, bindparam("after") < _TOLD_ID)
    .order_by(_TOLD_ID)
    .limit(bindparam("most"))
)
_NEW = (
    select(entries.c.id, entries.c.mailbox_id, _BOX.quota)
    .join_from(entries, mailboxes)
    .where(entries.c.id > bindparam("after"))
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
_LAST = select(func.max(entries.c.id))
_WATCHED = (
    select(_BOX.id, _BOX.address, _BOX.quota, _BOX.deleted_at.is_(None), _STATE.quota_told)
    .join_from(mailboxes, mailbox_state, isouter=True)
    .where(_BOX.id.in_(_IDS))
)
_TOLD_OF = select(_STATE.quota_told).where(_STATE.mailbox_id == bindparam("mailbox"))
_DOMAINS = select(domains.c.id, domains.c.name, domains.c.quota, domains.c.quota_told).where(
    (domains.c.quota.is_not(None)) | (domains.c.quota_told > 0), domains.c.removed_at.is_(None)
)
_COUNTED = select(_STATE.quota_told, func.count()).where(_LEVEL_TOLD).group_by(_STATE.quota_told)
