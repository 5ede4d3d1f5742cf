"""Break-glass access: an administrator reads a mailbox, with a reason and an end.

Content belongs to its holder: administrators have no ordinary way to it (DOMAIN U1.2). An access is
asked for with a reason; where two persons are needed, another one agrees before it opens. The
holder is told by default. Functions take a connection in a write transaction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, insert, or_, select, update

from mailstore.accounts.changes import note_ending
from mailstore.db.people_schema import accounts, break_glass
from mailstore.db.schema import domains, mailboxes
from mailstore.errors import Forbidden, InvalidState, NotFound
from mailstore.scope.conditions import domain_within
from mailstore.scope.model import WHOLE, Scope

LONGEST: Final = timedelta(hours=24)  # no access is longer
_LONGEST_REASON: Final = 500  # characters


@dataclass(frozen=True, slots=True)
class Access:
    """A break-glass access; `account`: login, None for the operator's Unix user alone.

    `second`: login or Unix user who agreed; `told_at`: when the holder was told.
    """

    id: int
    mailbox_id: int
    mailbox: str
    account_id: int | None
    account: str | None
    unix_user: str
    reason: str
    asked_at: datetime
    ends_at: datetime
    needs_second: bool
    second: str | None
    agreed_at: datetime | None
    tell_holder: bool
    told_at: datetime | None

    @property
    def who(self) -> str:
        """Name of the administrator."""
        return self.account or self.unix_user

    def open(self, at: datetime) -> bool:
        """True if content may be read at this time."""
        agreed = not self.needs_second or self.agreed_at is not None
        return agreed and self.asked_at <= at < self.ends_at


@dataclass(frozen=True, slots=True)
class Asker:
    """Administrator who asks or agrees; the Unix user behind the command is always known."""

    account_id: int | None
    account: str | None
    unix_user: str

    @property
    def name(self) -> str:
        """Name of the administrator."""
        return self.account or self.unix_user


def ask(
    conn: Connection,
    mailbox_id: int,
    asker: Asker,
    reason: str,
    at: datetime,
    ends_at: datetime,
    *,
    needs_second: bool,
    tell_holder: bool = True,
) -> Access:
    """Ask for access; it opens at once unless a second person is needed.

    Raises InvalidState for a reason that is empty, too long or not readable, or an end that is past
    or more than LONGEST away.
    """
    why = _reason(reason)
    if not at < ends_at <= at + LONGEST:
        raise InvalidState("access to content ends within 24 hours")
    number: int = conn.execute(
        insert(break_glass)
        .values(
            mailbox_id=mailbox_id,
            account_id=asker.account_id,
            unix_user=asker.unix_user,
            reason=why,
            asked_at=at,
            ends_at=ends_at,
            needs_second=needs_second,
            tell_holder=tell_holder,
        )
        .returning(break_glass.c.id)
    ).scalar_one()
    return get_access(conn, number)


def agree(conn: Connection, access_id: int, second: Asker, at: datetime) -> Access:
    """Agree to an access as the second person; it opens now, its end stays.

    Raises NotFound; Forbidden for the same person; InvalidState for an access that needs nobody, or
    one that is agreed or over.
    """
    found = get_access(conn, access_id)
    if not found.needs_second or found.agreed_at is not None:
        raise InvalidState(f"the access {access_id} needs no second person")
    if at >= found.ends_at:
        raise InvalidState(f"the access {access_id} ended at {found.ends_at.isoformat()}")
    same_account = second.account_id is not None and second.account_id == found.account_id
    if same_account or second.account_id is None or second.unix_user == found.unix_user:
        raise Forbidden(
            "the second person must be another person: another account, under another Unix user"
        )
    agreed = conn.execute(
        update(break_glass)
        .where(
            break_glass.c.id == access_id,
            break_glass.c.agreed_at.is_(None),
            break_glass.c.ends_at > at,
        )
        .values(second=second.name, agreed_at=at)
    )
    if not agreed.rowcount:  # another was faster
        raise InvalidState(f"the access {access_id} was agreed to or ended meanwhile")
    return get_access(conn, access_id)


def close_access(conn: Connection, access_id: int, at: datetime) -> Access:
    """End an access before its time. Raises NotFound; InvalidState if it is over."""
    found = get_access(conn, access_id)
    if at >= found.ends_at:
        raise InvalidState(f"the access {access_id} ended at {found.ends_at.isoformat()}")
    conn.execute(update(break_glass).where(break_glass.c.id == access_id).values(ends_at=at))
    note_ending(conn)
    return get_access(conn, access_id)


def get_access(conn: Connection, access_id: int) -> Access:
    """Find an access. Raises NotFound."""
    row = conn.execute(_rows().where(break_glass.c.id == access_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no access with the number {access_id}")
    return _access(row)


def open_access(conn: Connection, mailbox_id: int, asker: Asker, at: datetime) -> Access | None:
    """Return an access of this administrator to the mailbox that is open now."""
    query = _rows().where(break_glass.c.mailbox_id == mailbox_id, break_glass.c.ends_at > at)
    if asker.account_id is None:
        query = query.where(
            break_glass.c.account_id.is_(None), break_glass.c.unix_user == asker.unix_user
        )
    else:
        query = query.where(break_glass.c.account_id == asker.account_id)
    found = (_access(row) for row in conn.execute(query.order_by(break_glass.c.id.desc())))
    return next((one for one in found if one.open(at)), None)


def list_accesses(
    conn: Connection,
    *,
    at: datetime | None = None,
    scope: Scope = WHOLE,
    after: int = 0,
    limit: int = 1000,
) -> list[Access]:
    """List up to `limit` accesses with numbers above `after`; with a time, these not over then.

    `scope`: of the mailboxes.
    """
    query = _rows().where(break_glass.c.id > after, *domain_within(scope))
    query = query.order_by(break_glass.c.id).limit(limit)
    if at is not None:
        query = query.where(break_glass.c.ends_at > at)
    return [_access(row) for row in conn.execute(query)]


def untold(conn: Connection, limit: int = 100) -> list[Access]:
    """List accesses whose holder is still to be told, the oldest first.

    An erased mailbox takes no message any more.
    """
    agreed = or_(break_glass.c.needs_second.is_(False), break_glass.c.agreed_at.is_not(None))
    query = _rows().where(
        break_glass.c.tell_holder,
        break_glass.c.told_at.is_(None),
        agreed,
        mailboxes.c.erased_at.is_(None),
    )
    return [_access(row) for row in conn.execute(query.order_by(break_glass.c.id).limit(limit))]


def set_told(conn: Connection, access_id: int, at: datetime) -> bool:
    """Note that the holder was told; False if this was noted before, or the mailbox is erased.

    The mailbox is not erased before the transaction ends.
    """
    mailbox = (
        select(mailboxes.c.id)
        .join_from(mailboxes, break_glass)
        .where(break_glass.c.id == access_id, mailboxes.c.erased_at.is_(None))
        .with_for_update(of=mailboxes, key_share=True)
    )
    if conn.scalar(mailbox) is None:
        return False
    changed = conn.execute(
        update(break_glass)
        .where(break_glass.c.id == access_id, break_glass.c.told_at.is_(None))
        .values(told_at=at)
    )
    return changed.rowcount == 1


def _reason(text: str) -> str:
    # The holder reads it in a message: no line of it may look like another part of that.
    why = " ".join(text.split())
    if not why:
        raise InvalidState("access to content needs a reason")
    if len(why) > _LONGEST_REASON or not why.isprintable():
        raise InvalidState(
            f"the reason has more than {_LONGEST_REASON} characters, or some that cannot be seen"
        )
    return why


def _rows() -> Select[Any]:
    return (
        select(break_glass, mailboxes.c.address, accounts.c.login)
        .join_from(break_glass, mailboxes)
        .join(domains, domains.c.id == mailboxes.c.domain_id)
        .outerjoin(accounts, accounts.c.id == break_glass.c.account_id)
    )


def _access(row: Row[Any]) -> Access:
    return Access(
        id=row.id,
        mailbox_id=row.mailbox_id,
        mailbox=row.address,
        account_id=row.account_id,
        account=row.login,
        unix_user=row.unix_user,
        reason=row.reason,
        asked_at=row.asked_at,
        ends_at=row.ends_at,
        needs_second=row.needs_second,
        second=row.second,
        agreed_at=row.agreed_at,
        tell_holder=row.tell_holder,
        told_at=row.told_at,
    )
