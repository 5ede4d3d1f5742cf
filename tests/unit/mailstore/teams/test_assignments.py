"""Assignments: a message has one person at most."""

from datetime import timedelta

import pytest

from mailstore.db.database import Database
from mailstore.db.folder_schema import mailbox_state
from mailstore.errors import InvalidState, NotFound
from mailstore.folders.lock import lock_mailbox
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.answers import answers_to
from mailstore.teams.assignments import (
    assigned_to,
    assignment_of,
    assignments_of,
    end,
    force_release,
    hand_over,
    release,
    take,
)
from mailstore.teams.model import LONGEST, AlreadyTaken, Assignment, End, NotTaken, WorkState
from mailstore.teams.notes import list_notes
from mailstore.teams.work import states_of
from tests.support.clock import NOW
from tests.support.people.teams import Team, message_id, modseqs

HOUR = timedelta(hours=1)
SOON = NOW + HOUR
ONE, TWO = message_id(1), message_id(2)


def taken(database: Database, team: Team, account: int, message: str = ONE) -> Assignment:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        return take(lock, message, account, now=NOW, until=SOON)


def state(database: Database, team: Team, message: str = ONE) -> WorkState:
    with database.read() as conn:
        return states_of(conn, team.mailbox, [message], NOW)[message].state


def test_a_message_is_taken_by_one_person_and_not_by_another(
    database: Database, team: Team
) -> None:
    mine = taken(database, team, team.claire)
    with pytest.raises(AlreadyTaken, match="another person has taken it") as refused:
        taken(database, team, team.paul)
    assert refused.value.assignment == mine
    with database.read() as conn:
        assert assignment_of(conn, team.mailbox, ONE, NOW) == mine
        assert assignments_of(conn, team.mailbox, [ONE, TWO], NOW) == {ONE: mine}
        assert assigned_to(conn, team.mailbox, team.claire, NOW) == [mine]
        assert not assigned_to(conn, team.mailbox, team.paul, NOW)
    assert state(database, team) is WorkState.TAKEN


def test_each_act_is_seen_in_the_folder(database: Database, team: Team) -> None:
    before, other = modseqs(database, ONE)[0], modseqs(database, TWO)[0]
    mine = taken(database, team, team.claire)
    assert mine.modseq > before
    assert modseqs(database, ONE) == (mine.modseq,) * 3
    with database.write() as conn:
        release(lock_mailbox(conn, team.mailbox), ONE, team.claire, now=NOW)
    assert modseqs(database, ONE) == (mine.modseq + 1,) * 3
    assert modseqs(database, TWO)[0] == other


def test_taking_again_prolongs_and_never_shortens(database: Database, team: Team) -> None:
    mine = taken(database, team, team.claire)
    assert taken(database, team, team.claire) == mine  # nothing changes, nobody is told
    assert modseqs(database, ONE)[2] == mine.modseq
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        shorter = take(lock, ONE, team.claire, now=NOW, until=NOW + HOUR / 2)
        longer = take(lock, ONE, team.claire, now=NOW + HOUR / 2, until=NOW + 2 * HOUR)
    assert shorter == mine
    assert (longer.since, longer.until) == (NOW, NOW + 2 * HOUR)


def test_the_end_counts_from_its_moment_on(database: Database, team: Team) -> None:
    taken(database, team, team.claire)
    with database.read() as conn:
        assert assignment_of(conn, team.mailbox, ONE, SOON - HOUR / 60) is not None
        assert assignment_of(conn, team.mailbox, ONE, SOON) is None
        assert not assignments_of(conn, team.mailbox, [ONE], SOON)
        assert states_of(conn, team.mailbox, [ONE], SOON)[ONE].state is WorkState.OPEN
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        with pytest.raises(NotTaken):
            release(lock, ONE, team.claire, now=SOON)
        again = take(lock, ONE, team.paul, now=SOON, until=SOON + HOUR)
    assert (again.account_id, again.since) == (team.paul, SOON)


def test_only_its_person_releases_a_message(database: Database, team: Team) -> None:
    mine = taken(database, team, team.claire)
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        with pytest.raises(AlreadyTaken):
            release(lock, ONE, team.paul, now=NOW)
        with pytest.raises(NotTaken):
            release(lock, TWO, team.paul, now=NOW)
        assert release(lock, ONE, team.claire, now=NOW) == mine
        assert assignment_of(conn, team.mailbox, ONE, NOW) is None
    assert state(database, team) is WorkState.OPEN


def test_a_manager_releases_any(database: Database, team: Team) -> None:
    mine = taken(database, team, team.claire)
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        assert force_release(lock, ONE, now=NOW, by=None) == mine
        with pytest.raises(NotTaken):
            force_release(lock, ONE, now=NOW, by=None)
    assert state(database, team) is WorkState.OPEN


def test_a_message_is_handed_over_to_a_colleague(database: Database, team: Team) -> None:
    taken(database, team, team.claire)
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        with pytest.raises(InvalidState, match="to another person"):
            hand_over(lock, ONE, team.claire, team.claire, now=NOW, until=SOON)
        theirs = hand_over(lock, ONE, team.claire, team.paul, now=NOW, until=SOON + HOUR)
        with pytest.raises(AlreadyTaken):
            hand_over(lock, ONE, team.claire, team.paul, now=NOW, until=SOON)
        assert assignment_of(conn, team.mailbox, ONE, NOW) == theirs
    assert (theirs.account_id, theirs.until) == (team.paul, SOON + HOUR)
    assert state(database, team) is WorkState.TAKEN


@pytest.mark.parametrize("until", [NOW, NOW - HOUR, NOW + LONGEST + HOUR])
def test_an_end_is_ahead_and_not_too_far(database: Database, team: Team, until: object) -> None:
    with database.write() as conn, pytest.raises(InvalidState, match="7 days at most"):
        take(lock_mailbox(conn, team.mailbox), ONE, team.claire, now=NOW, until=until)  # type: ignore[arg-type]


def test_a_message_that_the_mailbox_does_not_hold_is_not_taken(
    database: Database, team: Team
) -> None:
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        with pytest.raises(NotFound):
            take(lock, message_id(99), team.claire, now=NOW, until=SOON)
        before = conn.scalar(mailbox_state.select().with_only_columns(mailbox_state.c.modseq))
        assert before == lock.before


def test_lists_of_any_length_are_asked_and_ended(database: Database, team: Team) -> None:
    """SQLite takes 32 766 parameters, PostgreSQL 65 535."""
    ids = [message_id(number) for number in range(70_000)]
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        mine = take(lock, ONE, team.claire, now=NOW, until=SOON)
        assert assignments_of(conn, team.mailbox, ids, NOW) == {ONE: mine}
        assert states_of(conn, team.mailbox, ids, NOW)[ONE].state is WorkState.TAKEN
        assert answers_to(conn, team.mailbox, ids) == []
        assert list_notes(conn, RowSeal(None), team.mailbox, ids) == []
        end(lock, ids, End.DEPARTED, now=NOW)
        assert assignments_of(conn, team.mailbox, ids, NOW) == {}
