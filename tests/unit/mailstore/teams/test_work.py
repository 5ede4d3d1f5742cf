"""States of the work on messages."""

from datetime import timedelta

import pytest

from mailstore.db.database import Database
from mailstore.errors import InvalidState, NotFound
from mailstore.folders.lock import lock_mailbox
from mailstore.teams.assignments import assignment_of, take
from mailstore.teams.model import Work, WorkState
from mailstore.teams.work import reopen, set_state, states_of
from tests.support.clock import NOW
from tests.support.people.teams import Team, message_id, modseqs

HOUR = timedelta(hours=1)
ONE, TWO, THREE = map(message_id, (1, 2, 3))


def test_a_message_is_open_until_somebody_says_otherwise(database: Database, team: Team) -> None:
    with database.read() as conn:
        found = states_of(conn, team.mailbox, [ONE], NOW)
    assert found == {ONE: Work(ONE, WorkState.OPEN, None, None, 0)}


def test_a_state_is_set_with_its_person_and_seen_in_the_folder(
    database: Database, team: Team
) -> None:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        made = set_state(lock, ONE, WorkState.WAITING, team.claire, now=NOW)
    assert (made.account_id, made.since) == (team.claire, NOW)
    with database.write() as conn:
        assert states_of(conn, team.mailbox, [ONE], NOW) == {ONE: made}
        again = set_state(
            lock_mailbox(conn, team.mailbox), ONE, WorkState.WAITING, team.paul, now=NOW + HOUR
        )
    assert again == made
    assert modseqs(database, ONE) == (made.modseq,) * 3


@pytest.mark.parametrize(
    ("state", "still"),
    [(WorkState.OPEN, False), (WorkState.WAITING, True), (WorkState.CLOSED, False)],
)
def test_a_state_ends_the_assignment_or_leaves_it(
    database: Database, team: Team, state: WorkState, *, still: bool
) -> None:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        take(lock, ONE, team.claire, now=NOW, until=NOW + HOUR)
        assert set_state(lock, ONE, state, team.claire, now=NOW).state is state
        assert (assignment_of(conn, team.mailbox, ONE, NOW) is not None) is still
        assert states_of(conn, team.mailbox, [ONE], NOW)[ONE].state is state


def test_taken_is_set_by_taking_alone(database: Database, team: Team) -> None:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        with pytest.raises(InvalidState, match="take it"):
            set_state(lock, ONE, WorkState.TAKEN, team.claire, now=NOW)
        with pytest.raises(NotFound):
            set_state(lock, message_id(99), WorkState.CLOSED, team.claire, now=NOW)


def test_new_mail_of_the_thread_reopens_what_waits_or_is_closed(
    database: Database, team: Team
) -> None:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        set_state(lock, ONE, WorkState.CLOSED, team.claire, now=NOW)
        take(lock, TWO, team.paul, now=NOW, until=NOW + HOUR)
        set_state(lock, TWO, WorkState.WAITING, team.paul, now=NOW)
    before = modseqs(database, THREE)[0]
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        assert reopen(lock, [THREE, TWO, ONE], now=NOW) == [ONE, TWO]
        found = states_of(conn, team.mailbox, [ONE, TWO, THREE], NOW)
        assert reopen(lock, [THREE, TWO, ONE], now=NOW) == []
    assert [found[one].state.value for one in (ONE, TWO, THREE)] == ["open", "taken", "open"]
    assert found[TWO].account_id == team.paul
    assert modseqs(database, THREE)[0] == before
