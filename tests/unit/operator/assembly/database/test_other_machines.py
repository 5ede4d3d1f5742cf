"""An upgrade beside another machine of an older version."""

from contextlib import closing
from datetime import timedelta

import pytest

from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from mssante_operator.assembly.database import migrations
from mssante_operator.assembly.database.other_machines import OtherMachineRuns
from relay.machines.rows import Machine, insert_machine

OWN, OTHER = "0" * 32, "1" * 32

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@pytest.fixture
def older(empty_database_url: str) -> str:
    migrations.upgrade(empty_database_url, "0011")
    return empty_database_url


def beat(url: str, name: str, ago: float) -> None:
    with closing(Database(url)) as database, database.write() as conn:
        now = server_clock(conn)
        assert now is not None
        insert_machine(conn, Machine(name, "proof", 1, now - timedelta(seconds=ago)))


def test_no_upgrade_while_another_machine_lives(older: str) -> None:
    beat(older, OTHER, 5)
    with pytest.raises(OtherMachineRuns, match=OTHER):
        migrations.upgrade(older, own=OWN)
    assert migrations.current(older) == "0011"


def test_this_machine_and_those_that_stopped_do_not_matter(older: str) -> None:
    beat(older, OWN, 0)
    beat(older, OTHER, 60)
    migrations.upgrade(older, own=OWN)
    assert migrations.current(older) == "0012"
    beat(older, "2" * 32, 0)
    migrations.upgrade(older, own=OWN)  # nothing to do beside a machine of this version
