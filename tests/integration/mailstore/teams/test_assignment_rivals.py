"""Of several persons who take a message at once, exactly one gets it."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE, Popen

from sqlalchemy import select

from mailstore.db.database import Database
from mailstore.db.team_schema import message_assignments, message_work
from tests.support.people.assignment_writer import take_one
from tests.support.people.teams import Team, deliver, make_team, message_id, modseqs

MESSAGES, RIVALS = 20, 4


def made(database: Database, folder: bool = True) -> Team:
    with database.write() as conn:
        team = make_team(conn)
        numbers = range(1, MESSAGES + 1)
        deliver(conn, team.mailbox, *numbers, folder=team.inbox if folder else None)
    return team


def persons(database: Database) -> dict[str, int]:
    row = message_assignments.c
    with database.read() as conn:
        found = conn.execute(select(row.message_id, row.account_id))
        return {one.message_id: one.account_id for one in found}


def test_sessions_of_a_process_that_race_get_a_message_once(database: Database) -> None:
    team = made(database)
    start = threading.Barrier(RIVALS)

    def rival(account: int) -> list[int]:
        got = []
        for number in range(1, MESSAGES + 1):
            start.wait(30)  # all try the same message at once
            if take_one(database, team.mailbox, account, number):
                got.append(number)
        return got

    with ThreadPoolExecutor(RIVALS) as pool:
        won = list(pool.map(rival, range(100, 100 + RIVALS)))
    numbers = [number for got in won for number in got]
    assert sorted(numbers) == list(range(1, MESSAGES + 1))
    expected = {message_id(number): 100 + rival for rival, got in enumerate(won) for number in got}
    assert persons(database) == expected
    # Each change has a modification sequence of its own.
    given = {modseqs(database, one)[0] for one in expected}
    assert len(given) == MESSAGES


def test_processes_that_race_get_a_message_once(database: Database, database_url: str) -> None:
    team = made(database)
    words = [sys.executable, "-m", "tests.support.people.assignment_writer", database_url]
    start: Callable[[int], Popen[str]] = lambda account: Popen(  # noqa: E731
        [*words, str(team.mailbox), str(account), str(MESSAGES)], stdout=PIPE, text=True
    )
    rivals = {account: start(account) for account in (100, 101, 102)}
    won = {account: one.communicate(timeout=60)[0].split() for account, one in rivals.items()}
    assert [one.returncode for one in rivals.values()] == [0, 0, 0]
    expected = {message_id(int(number)): account for account, got in won.items() for number in got}
    assert sum(map(len, won.values())) == MESSAGES
    assert persons(database) == expected
    with database.read() as conn:
        states = conn.scalars(select(message_work.c.state)).all()
    assert states == ["taken"] * MESSAGES
