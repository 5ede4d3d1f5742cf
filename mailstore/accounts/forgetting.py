r"""Erasing what is kept about persons whose accounts were closed long ago (RGPD, article 5).

The row stays with its log-in name, which nobody else may get. Names, reason, identifiers,
credentials, grants, roles, break-glass accesses and the person's own \Seen go. The audit trail has
a retention of its own. Notes, states and answers belong to the mailbox and stay with the number of
the account.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from mailstore.accounts.kinds import AccountState
from mailstore.db.folder_schema import mailbox_state, seen_by_person
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
    if ids:
        # By mailbox, as the index is: the table may have millions of rows.
        seen = seen_by_person.c.mailbox_id.in_(select(mailbox_state.c.mailbox_id))
        conn.execute(delete(seen_by_person).where(seen, seen_by_person.c.account_id.in_(ids)))
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
