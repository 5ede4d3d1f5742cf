"""Messages that a person had taken are free again once the person's access ends.

Any ending counts, even where another grant still gives the access: a message that is open too early
is seen by the team, and its person takes it again; a message that stays with somebody who left is
seen by nobody.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from mailstore.accounts.endings import (
    AccountEnded,
    AssignmentEnded,
    CredentialEnded,
    Ending,
    GrantEnded,
    MailboxEnded,
    MembershipEnded,
    TeamMoveEnded,
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
    found = (_of(one) for one in endings)
    conditions = [one for one in found if one is not None]
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


def _of(ending: Ending) -> ColumnElement[bool] | None:
    match ending:
        case AccountEnded():
            return _ROW.account_id == ending.account if ending.closed else None
        case MailboxEnded():
            return _ROW.mailbox_id == ending.mailbox if ending.closed else None
        case GrantEnded():
            members = select(group_members.c.account_id).where(
                group_members.c.group_id == ending.group
            )
            person = _ROW.account_id == ending.account
            return and_(
                _ROW.mailbox_id == ending.mailbox,
                person if ending.group is None else _ROW.account_id.in_(members),
            )
        case MembershipEnded():
            reached = select(grants.c.mailbox_id).where(grants.c.group_id == ending.group)
            return and_(_ROW.account_id == ending.account, _ROW.mailbox_id.in_(reached))
        case CredentialEnded() | TeamMoveEnded() | AssignmentEnded():
            return None
        case _:
            assert_never(ending)
