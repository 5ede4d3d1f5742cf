"""Closing an account ends all that it has, in one transaction (DOMAIN §9.36).

Credentials are revoked, grants and roles end, memberships go, identifiers end: the person may come
back under a new account. The row stays, so that nobody else gets the log-in name and the audit
trail stays readable.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, or_, update

from mailstore.accounts.accounts import (
    Account,
    get_account_by_id,
    lock_account,
)
from mailstore.accounts.changes import note_ending
from mailstore.accounts.departures import end_assignments
from mailstore.accounts.endings import (
    AccountEnded,
    CredentialEnded,
    Ending,
    GrantEnded,
    MembershipEnded,
)
from mailstore.accounts.kinds import AccountState
from mailstore.accounts.names import parse_name
from mailstore.db.people_schema import (
    account_identifiers,
    accounts,
    break_glass,
    credentials,
    grants,
    group_members,
    roles,
)


def close_account(
    conn: Connection, login: str, reason: str, *, now: datetime
) -> tuple[Account, list[Ending]]:
    """Close an account for good. Returns it, and the endings for the doors.

    Raises NotFound; InvalidName for an empty reason; InvalidState if it is closed already.
    """
    why = parse_name(reason, "reason")
    account = lock_account(conn, login)
    conn.execute(
        update(accounts)
        .where(accounts.c.id == account.id)
        .values(state=AccountState.CLOSED.value, state_since=now, state_reason=why)
    )
    endings: list[Ending] = [AccountEnded(account=account.id, at=now, closed=True)]
    endings += end_credentials(conn, credentials.c.account_id == account.id, now)
    endings += end_grants(conn, grants.c.account_id == account.id, now)
    left = conn.scalars(
        delete(group_members)
        .where(group_members.c.account_id == account.id)
        .returning(group_members.c.group_id)
    )
    endings += [MembershipEnded(account=account.id, group=one, at=now) for one in left]
    conn.execute(
        update(roles)
        .where(roles.c.account_id == account.id, _open(roles.c.ends_at, now))
        .values(ends_at=now)
    )
    end_accesses(conn, break_glass.c.account_id == account.id, now)
    conn.execute(
        update(account_identifiers)
        .where(
            account_identifiers.c.account_id == account.id,
            account_identifiers.c.ended_at.is_(None),
        )
        .values(ended_at=now)
    )
    endings += end_assignments(conn, endings, now)
    note_ending(conn)
    return get_account_by_id(conn, account.id), endings


def end_credentials(
    conn: Connection, which: ColumnElement[bool], now: datetime
) -> list[CredentialEnded]:
    """Revoke the credentials of a condition that are not revoked yet."""
    ended = conn.execute(
        update(credentials)
        .where(which, credentials.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(credentials.c.id, credentials.c.account_id)
    )
    return [CredentialEnded(credential=row.id, account=row.account_id, at=now) for row in ended]


def end_grants(conn: Connection, which: ColumnElement[bool], now: datetime) -> list[GrantEnded]:
    """End the grants of a condition that have not ended yet, also those that have not begun."""
    ended = conn.execute(
        update(grants)
        .where(which, _open(grants.c.ends_at, now))
        .values(ends_at=now)
        .returning(grants.c.id, grants.c.mailbox_id, grants.c.account_id, grants.c.group_id)
    )
    return [
        GrantEnded(
            grant=row.id,
            mailbox=row.mailbox_id,
            account=row.account_id,
            group=row.group_id,
            at=now,
        )
        for row in ended
    ]


def end_accesses(conn: Connection, which: ColumnElement[bool], now: datetime) -> int:
    """End the break-glass accesses of a condition that are not over; returns their number."""
    over = update(break_glass).where(which, _open(break_glass.c.ends_at, now)).values(ends_at=now)
    return conn.execute(over).rowcount


def _open(ends_at: ColumnElement[datetime], now: datetime) -> ColumnElement[bool]:
    return or_(ends_at.is_(None), ends_at > now)
