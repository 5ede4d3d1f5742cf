"""Erasing what is kept about persons whose accounts were closed long ago (RGPD, article 5).

The row stays with its log-in name, which nobody else may get. Names, reason, identifiers,
credentials, grants, roles and break-glass accesses go. The audit trail has a retention of its own.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from mailstore.accounts.kinds import AccountState
from mailstore.db.people_schema import (
    account_identifiers,
    accounts,
    break_glass,
    credentials,
    grants,
    roles,
)

_OF_ACCOUNTS = (account_identifiers, credentials, grants, roles, break_glass)


def forget_closed(conn: Connection, before: datetime, *, limit: int = 100) -> list[tuple[str, int]]:
    """Forget accounts that were closed before a time; returns their log-in names and tenants.

    At most `limit`, the longest closed first; none are left once the result is empty.
    """
    due = conn.execute(
        select(accounts.c.id, accounts.c.login, accounts.c.tenant_id)
        .where(
            accounts.c.state == AccountState.CLOSED.value,
            accounts.c.state_since < before,
            accounts.c.family_name != "",
        )
        .order_by(accounts.c.state_since, accounts.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row.id for row in due]
    for table in _OF_ACCOUNTS:
        conn.execute(delete(table).where(table.c.account_id.in_(ids)))
    conn.execute(
        update(accounts)
        .where(accounts.c.id.in_(ids))
        .values(
            family_name="",
            given_name="",
            state_reason=None,
            last_login_at=None,
            failed_logins=0,
            failed_at=None,
        )
    )
    return [(row.login, row.tenant_id) for row in due]
