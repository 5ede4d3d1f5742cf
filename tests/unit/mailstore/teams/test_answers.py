"""A message and its answers."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mailstore.db.database import Database
from mailstore.db.folder_schema import folder_messages
from mailstore.errors import NotFound
from mailstore.folders.lock import lock_mailbox
from mailstore.teams.answers import ANSWERED_BIT, answered_message, answers_to, link_answer
from tests.support.clock import NOW
from tests.support.people.teams import Team, message_id, modseqs

ONE, ANSWER, SECOND = message_id(1), message_id(50), message_id(51)
FLAGGED = 1 << 2


def test_an_answer_is_linked_with_its_person_and_the_flag(database: Database, team: Team) -> None:
    with database.write() as conn:
        conn.execute(update(folder_messages).values(flags=FLAGGED))
        lock = lock_mailbox(conn, team.mailbox)
        made = link_answer(lock, ONE, ANSWER, team.claire, now=NOW)
        other = link_answer(lock, ONE, SECOND, None, now=NOW + timedelta(hours=1))
    assert (made.account_id, made.answered_at) == (team.claire, NOW)
    assert modseqs(database, ONE) == (made.modseq,) * 3
    with database.read() as conn:
        assert answers_to(conn, team.mailbox, [ONE]) == [made, other]
        assert answered_message(conn, team.mailbox, ANSWER) == made
        assert answered_message(conn, team.mailbox, ONE) is None
        rows = conn.execute(select(folder_messages.c.message_id, folder_messages.c.flags))
        flags = {row.message_id: row.flags for row in rows}
    assert flags == {
        ONE: FLAGGED | ANSWERED_BIT,
        message_id(2): FLAGGED,
        message_id(3): FLAGGED,
    }


def test_a_link_is_made_once(database: Database, team: Team) -> None:
    with database.write() as conn:
        made = link_answer(lock_mailbox(conn, team.mailbox), ONE, ANSWER, team.claire, now=NOW)
    with database.write() as conn:
        lock = lock_mailbox(conn, team.mailbox)
        assert link_answer(lock, ONE, ANSWER, team.paul, now=NOW) == made
        with pytest.raises(NotFound):
            link_answer(lock, message_id(99), ANSWER, team.paul, now=NOW)
    assert modseqs(database, ONE)[2] == made.modseq
