"""Counters by state, and the oldest open message."""

from datetime import timedelta

from mailstore.db.database import Database
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.teams.assignments import take
from mailstore.teams.counters import OldestOpen, count_states, oldest_open
from mailstore.teams.model import WorkState
from mailstore.teams.work import set_state
from tests.support.clock import NOW
from tests.support.people.accounts import box
from tests.support.people.teams import Team, add_inbox, deliver, message_id

HOUR = timedelta(hours=1)
ONE, TWO, THREE, FOUR = map(message_id, (1, 2, 3, 4))


def numbers(database: Database, mailbox: int, at: object = NOW) -> list[int]:
    with database.read() as conn:
        found = count_states(conn, mailbox, at)  # type: ignore[arg-type]
    return [found[state] for state in WorkState]


def test_messages_are_counted_by_state(database: Database, team: Team) -> None:
    assert numbers(database, team.mailbox) == [3, 0, 0, 0]
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        take(lock, ONE, team.claire, now=NOW, until=NOW + HOUR)
        set_state(lock, TWO, WorkState.WAITING, team.claire, now=NOW)
        set_state(lock, THREE, WorkState.CLOSED, team.claire, now=NOW)
        deliver(conn, team.mailbox, 4)  # nobody has looked since: in no folder
        deliver(conn, team.mailbox, 5, folder=add_inbox(conn, team.mailbox, "sent"))
        other = box(conn, "urgences@chu.mssante.fr", MailboxType.ORG).id
        deliver(conn, other, 6)
    assert numbers(database, team.mailbox) == [1, 1, 1, 1]
    assert numbers(database, team.mailbox, NOW + HOUR) == [2, 0, 1, 1]
    assert numbers(database, other) == [1, 0, 0, 0]


def test_the_oldest_open_message_is_found_in_and_out_of_folders(
    database: Database, team: Team
) -> None:
    with database.write() as conn:
        deliver(conn, team.mailbox, 4, at=NOW + HOUR)
        lock = lock_mailbox(conn, team.mailbox)
        assert oldest_open(conn, team.mailbox, NOW) == OldestOpen(ONE, NOW)
        set_state(lock, ONE, WorkState.CLOSED, team.claire, now=NOW)
        assert oldest_open(conn, team.mailbox, NOW) == OldestOpen(TWO, NOW)
        for one in (TWO, THREE):
            take(lock, one, team.claire, now=NOW, until=NOW + HOUR)
        assert oldest_open(conn, team.mailbox, NOW) == OldestOpen(FOUR, NOW + HOUR)
        # Nobody has them any more.
        assert oldest_open(conn, team.mailbox, NOW + HOUR) == OldestOpen(TWO, NOW)
        set_state(lock, FOUR, WorkState.WAITING, team.claire, now=NOW)
        assert oldest_open(conn, team.mailbox, NOW) is None
