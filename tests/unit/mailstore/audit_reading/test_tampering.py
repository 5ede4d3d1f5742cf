"""Every kind of tampering by SQL is found, and a trail that nobody touched is sound."""

from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.audit.anchors import make_anchor
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from tests.support.audit.tampering import KINDS
from tests.support.audit.tampering_beyond import MALFORMED, STEALTHY, second_totals
from tests.support.audit.tampering_tools import Tampering
from tests.support.audit.trails import append, event
from tests.support.audit.world import World, make_world, state_of
from tests.support.clock import NOW


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return make_world(database, tmp_path)


def tamper(world: World, how: Tampering) -> None:
    world.restore()
    with world.database.write() as connection:
        how(connection, world)


def test_there_are_more_than_a_hundred_kinds() -> None:
    assert len(KINDS) >= 100


def test_each_kind_is_found(world: World) -> None:
    unfound = []
    for name, how in KINDS.items():
        tamper(world, how)
        assert state_of(world.database) != world.state, name
        if not world.findings():
            unfound.append(name)
    assert unfound == []
    world.restore()
    assert world.findings(world.sent) == []


def test_values_that_only_sqlite_takes_are_found(world: World) -> None:
    if world.database.several:
        pytest.skip("PostgreSQL refuses them")
    unfound = []
    for name, how in MALFORMED.items():
        tamper(world, how)
        if not world.findings():
            unfound.append(name)
    assert unfound == []


def test_who_owns_keys_or_a_backup_is_found_by_anchors_sent_off(world: World) -> None:
    for name, how in STEALTHY.items():
        tamper(world, how)
        assert world.findings() == [], name  # consistent in itself
        assert world.findings(world.sent), name


def test_a_finding_names_its_place(world: World) -> None:
    tamper(world, KINDS["account of the middle row"])
    assert [str(one) for one in world.findings()] == [
        "chain 1 row 7: its digest is wrong: the row, or the one before it, was changed"
    ]
    tamper(world, KINDS["two rows removed"])
    assert [str(one) for one in world.findings()] == [
        "chain 1: rows 4 to 5 are missing",
        "anchor 2: chain 1 row 4: the row was removed",
    ]
    tamper(world, KINDS["chain cut, head with its old seal"])
    assert [str(one) for one in world.findings()] == [
        "anchor 5: chain 1 row 8: the chain ends at row 7: it was cut off at the end"
    ]


def test_rows_removed_before_their_time_are_told(world: World) -> None:
    # The owner of the keys can move a floor; anchors show when its rows were written.
    tamper(world, STEALTHY["rows removed early by the owner of the machine"])
    found = [str(one) for one in world.findings(world.sent)]
    assert "given anchor 4: chain 1 row 7: it was removed before the end of its retention" in found
    assert not any("given anchor 5: chain 1 row 8" in one for one in found)


def test_second_totals_stop_no_work(world: World) -> None:
    if world.database.several:
        pytest.skip("PostgreSQL refuses them")
    tamper(world, second_totals)
    append(world.database, AuditTrail(world.keys), event())
    with world.database.write() as connection:
        assert make_anchor(connection, world.keys, NOW + timedelta(days=1))
    found = [str(one) for one in world.findings()]
    assert found == ["totals: there are others beside them: they were inserted"]
