"""Assignments that end without their person."""

from datetime import timedelta

from mailstore.db.database import Database
from mailstore.db.team_schema import message_assignments
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.teams.assignments import assignment_of, take
from mailstore.teams.endings import DueMailbox, due_mailboxes, end_departed, expire
from mailstore.teams.model import WorkState
from mailstore.teams.work import set_state, states_of
from tests.support.clock import NOW
from tests.support.people.accounts import box
from tests.support.people.teams import ADDRESS, Team, deliver, message_id, modseqs

HOUR = timedelta(hours=1)
ONE, TWO, THREE = map(message_id, (1, 2, 3))


def take_all(database: Database, team: Team) -> None:
    """Claire has the first for one hour and the third for two, and Paul the second for one."""
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        take(lock, ONE, team.claire, now=NOW, until=NOW + HOUR)
        take(lock, TWO, team.paul, now=NOW, until=NOW + HOUR)
        take(lock, THREE, team.claire, now=NOW, until=NOW + 2 * HOUR)


def test_assignments_end_by_time_and_watchers_learn(database: Database, team: Team) -> None:
    take_all(database, team)
    with database.write() as conn:
        assert due_mailboxes(conn, NOW + HOUR - HOUR / 60) == []
        assert due_mailboxes(conn, NOW + HOUR) == [DueMailbox(team.mailbox, ADDRESS, team.tenant)]
        set_state(lock_mailbox(conn, team.mailbox), TWO, WorkState.WAITING, team.paul, now=NOW)
    before = modseqs(database, ONE)[2]
    with database.write() as conn:
        ended = expire(conn, team.mailbox, NOW + HOUR)
        assert [one.message_id for one in ended] == [ONE, TWO]
        assert expire(conn, team.mailbox, NOW + HOUR) == []
        assert due_mailboxes(conn, NOW + HOUR) == []
        found = states_of(conn, team.mailbox, [ONE, TWO, THREE], NOW + HOUR)
    # A message that waits for somebody outside goes on waiting.
    assert [found[one].state.value for one in (ONE, TWO, THREE)] == ["open", "waiting", "taken"]
    assert [modseqs(database, one)[0] for one in (ONE, TWO)] == [before + 1] * 2
    assert modseqs(database, THREE)[0] < before


def test_a_person_that_leaves_has_nothing_more(database: Database, team: Team) -> None:
    with database.write() as conn:
        other = box(conn, "urgences@chu.mssante.fr", MailboxType.ORG).id
        deliver(conn, other, 4)
    take_all(database, team)
    row = message_assignments.c
    with database.write() as conn:
        take(lock_mailbox(conn, other), message_id(4), team.claire, now=NOW, until=NOW + HOUR)
        lock = lock_mailbox(conn, team.mailbox)
        set_state(lock, THREE, WorkState.WAITING, team.claire, now=NOW)
    with database.write() as conn:
        # The first is over, and was nobody's already; yet its row goes.
        later = NOW + HOUR
        ended = end_departed(conn, row.account_id == team.claire, later)
        assert [(one.mailbox_id, one.message_id) for one in ended] == [(team.mailbox, THREE)]
        assert conn.scalars(
            message_assignments.select().with_only_columns(row.message_id)
        ).all() == [TWO]
        assert assignment_of(conn, other, message_id(4), NOW) is None
        # Nobody would look at it again if it went on waiting.
        assert states_of(conn, team.mailbox, [THREE], later)[THREE].state is WorkState.OPEN
