"""kill -9 amid a take: the person has the message wholly, or not at all."""

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from foundation.failpoints import TEAM_STEPS, VARIABLE
from mailstore.db.database import Database
from mailstore.db.team_schema import message_assignments, message_work
from tests.support.people.assignment_writer import take_one
from tests.support.people.teams import Team, deliver, make_team, message_id, modseqs

MESSAGES, KILL_AT = 5, 3

pytestmark = pytest.mark.timeout(120)


def killed(url: str, team: Team, step: str) -> list[int]:
    """Run a process that dies at the step for the third message; the numbers that it promised."""
    words = ["-m", "tests.support.people.assignment_writer", url]
    process = subprocess.run(
        [sys.executable, *words, str(team.mailbox), str(team.claire), str(MESSAGES)],
        env={**os.environ, VARIABLE: f"{step}:{KILL_AT}"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == -signal.SIGKILL
    return [int(one) for one in process.stdout.split()]


@pytest.mark.parametrize("step", TEAM_STEPS)
def test_a_message_is_taken_wholly_or_not_at_all(
    database: Database, database_url: str, step: str
) -> None:
    with database.write() as conn:
        team = make_team(conn)
        deliver(conn, team.mailbox, *range(1, MESSAGES + 1), folder=team.inbox)
    before = modseqs(database, message_id(KILL_AT))
    promised = killed(database_url, team, step)
    assert promised == [1, 2]
    with database.read() as conn:
        taken = conn.scalars(select(message_assignments.c.message_id)).all()
        states = conn.scalars(select(message_work.c.message_id)).all()
    assert sorted(taken) == sorted(states) == [message_id(one) for one in promised]
    after = modseqs(database, message_id(KILL_AT))
    assert after[0] == before[0]
    # Nobody is locked out by the dead process, and the other person gets the message.
    assert take_one(database, team.mailbox, team.paul, KILL_AT)
    assert modseqs(database, message_id(KILL_AT))[0] == after[2] + 1
