"""Messages that a person had taken are free again once the person's access ends.

Any ending counts, even where another grant still gives the access: a message that is open too early
is seen by the team, and its person takes it again; a message that stays with somebody who left is
seen by nobody.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from mailstore.accounts.endings import (
    AccountEnded,
    AssignmentEnded,
    Ending,
    GrantEnded,
    MailboxEnded,
    MembershipEnded,
)
from mailstore.db.people_schema import grants, group_members
from mailstore.db.team_schema import message_assignments
from mailstore.teams.endings import end_departed

_ROW = message_assignments.c


def end_assignments(
    conn: Connection, endings: Sequence[Ending], now: datetime
) -> list[AssignmentEnded]:
    """End the assignments that hang on endings of this transaction; call it before `note_ending`.

    Needs a connection in a write transaction.
    """
    conditions = list(_conditions(endings))
    if not conditions:
        return []
    return [
        AssignmentEnded(
            mailbox=one.mailbox_id, message=one.message_id, account=one.account_id, at=now
        )
        for one in end_departed(conn, or_(*conditions), now)
    ]


def count_assignments(endings: Sequence[Ending]) -> int:
    """Number of messages that are free again, for the audit row of the act."""
    return sum(isinstance(one, AssignmentEnded) for one in endings)


def _conditions(endings: Sequence[Ending]) -> Iterator[ColumnElement[bool]]:
    """Conditions on assignments, few however many endings: SQLite takes no thousand in a row."""
    accounts = {one.account for one in endings if isinstance(one, AccountEnded) and one.closed}
    boxes = {one.mailbox for one in endings if isinstance(one, MailboxEnded) and one.closed}
    given: dict[tuple[int | None, int | None], set[int]] = {}
    left: dict[int, set[int]] = {}
    for one in endings:
        if isinstance(one, GrantEnded) and one.mailbox not in boxes and one.account not in accounts:
            given.setdefault((one.account, one.group), set()).add(one.mailbox)
        elif isinstance(one, MembershipEnded) and one.account not in accounts:
            left.setdefault(one.group, set()).add(one.account)
    if accounts:
        yield _ROW.account_id.in_(accounts)
    if boxes:
        yield _ROW.mailbox_id.in_(boxes)
    for (account, group), mailboxes in given.items():
        members = select(group_members.c.account_id).where(group_members.c.group_id == group)
        person = _ROW.account_id == account
        yield and_(
            _ROW.mailbox_id.in_(mailboxes),
            person if group is None else _ROW.account_id.in_(members),
        )
    for group, persons in left.items():
        reached = select(grants.c.mailbox_id).where(grants.c.group_id == group)
        yield and_(_ROW.account_id.in_(persons), _ROW.mailbox_id.in_(reached))
