"""A team's mailbox with three messages."""

import pytest

from mailstore.db.database import Database
from tests.support.people.teams import Team, deliver, make_team


@pytest.fixture
def team(database: Database) -> Team:
    with database.write() as conn:
        made = make_team(conn)
        deliver(conn, made.mailbox, 1, 2, 3, folder=made.inbox)
    return made
