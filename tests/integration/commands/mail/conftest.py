"""A desk with an empty mailbox, on each database."""

import pytest

from mailstore.db.database import Database
from tests.support.machines.daemon import Daemon
from tests.support.machines.mail_desk import Desk
from tests.support.people import house


@pytest.fixture
def desk(operator_q: Daemon, database: Database) -> Desk:
    with database.write() as conn:
        home = house.build(conn)
    return Desk(operator_q, database, home)
