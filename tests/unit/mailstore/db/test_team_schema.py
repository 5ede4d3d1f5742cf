"""Rows of a team's work go with their message or mailbox."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, func, select

from mailstore.db.database import Database
from mailstore.db.team_schema import (
    drop_team_rows,
    message_answers,
    message_assignments,
    message_notes,
    message_work,
)
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.answers import link_answer
from mailstore.teams.assignments import take
from mailstore.teams.notes import add_note
from tests.support.clock import NOW
from tests.support.people.accounts import box
from tests.support.people.teams import deliver, make_team, message_id

TABLES = (message_assignments, message_work, message_notes, message_answers)
ONE, TWO, THREE = map(message_id, (1, 2, 3))


def work_on(conn: Connection, mailbox: int, message: str, answer: str, account: int) -> None:
    lock = lock_mailbox(conn, mailbox)
    take(lock, message, account, now=NOW, until=NOW + timedelta(hours=1))
    add_note(lock, RowSeal(None), message, account, "note", now=NOW)
    link_answer(lock, message, answer, account, now=NOW)


def left(conn: Connection, mailbox: int) -> list[int]:
    return [
        conn.execute(
            select(func.count()).select_from(table).where(table.c.mailbox_id == mailbox)
        ).scalar_one()
        for table in TABLES
    ]


@pytest.mark.parametrize(
    ("dropped", "kept"),
    [
        ([ONE], [1, 1, 1, 1]),
        ([ONE, TWO], [0, 0, 0, 0]),
        ([THREE], [2, 2, 2, 1]),  # an answer: its link goes, whatever it answered
        ([], [2, 2, 2, 2]),
        (None, [0, 0, 0, 0]),
    ],
)
def test_they_go_with_it_and_no_others(
    database: Database, dropped: list[str] | None, kept: list[int]
) -> None:
    with database.write() as conn:
        team = make_team(conn)
        deliver(conn, team.mailbox, 1, 2)
        work_on(conn, team.mailbox, ONE, message_id(9), team.claire)
        work_on(conn, team.mailbox, TWO, THREE, team.claire)
        other = box(conn, "urgences@chu.mssante.fr", MailboxType.ORG).id
        deliver(conn, other, 4)
        work_on(conn, other, message_id(4), THREE, team.claire)
        drop_team_rows(conn, team.mailbox, dropped)
        assert left(conn, team.mailbox) == kept
        assert left(conn, other) == [1, 1, 1, 1]
