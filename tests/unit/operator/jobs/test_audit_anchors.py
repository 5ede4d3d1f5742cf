"""The job of anchors: a place that is away is tried again, and nothing else waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from mailstore.audit.statement import SignedStatement, parse_statement
from mailstore.audit.trail import AuditTrail
from mailstore.db.audit_schema import audit_chains, audit_state
from mailstore.db.database import Database
from mssante_operator.jobs import audit_anchors
from mssante_operator.jobs.audit_anchors import AnchorJob
from tests.support.audit.trails import append, audit_keys, event
from tests.support.clock import NOW

EVERY = timedelta(minutes=15)


@dataclass
class ListedPlace:
    """A place that keeps the numbers of anchors, or is away."""

    name: str
    away: bool = False
    numbers: list[int] = field(default_factory=list)

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        if self.away:
            raise OSError("it is away")
        self.numbers += [parse_statement(one.statement).number for one in anchors]


class World:
    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.now = NOW
        self.trail = AuditTrail(audit_keys(folder))
        self.places = ListedPlace("file:near"), ListedPlace("syslog:far")
        self.job = AnchorJob(database, self.trail.keys, self.places, EVERY, self.clock)

    def clock(self) -> datetime:
        return self.now

    def work(self) -> None:
        """A new row, and a round a while later."""
        append(self.database, self.trail, event())
        self.now += EVERY
        self.job.round()


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def test_each_place_gets_each_anchor_once(world: World) -> None:
    world.job.round()
    world.work()
    world.now += EVERY
    world.job.round()  # no new row
    world.work()
    assert [place.numbers for place in world.places] == [[1, 2], [1, 2]]


def test_anchors_are_no_closer_than_configured(world: World) -> None:
    world.work()
    append(world.database, world.trail, event())
    world.now += EVERY / 3
    world.job.round()  # as another machine of the store would
    assert world.places[0].numbers == [1]
    world.now += EVERY / 3
    world.job.round()
    assert world.places[0].numbers == [1, 2]


def test_a_clock_set_back_stops_no_anchor(world: World) -> None:
    world.work()
    append(world.database, world.trail, event())
    world.now -= timedelta(days=1)
    world.job.round()
    assert world.places[0].numbers == [1, 2]


def test_a_place_that_was_away_gets_what_it_lacks(world: World) -> None:
    near, far = world.places
    world.work()
    far.away = True
    first = world.now + EVERY
    world.work()
    world.work()
    assert world.job.unsent == {far.name: (first, "it is away")}
    assert near.numbers == [1, 2, 3]
    far.away = False
    world.job.round()
    assert far.numbers == [1, 2, 3]
    assert world.job.unsent == {}


def test_a_new_place_gets_the_newest_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_anchors, "MOST", 2)
    world.places[1].away = True
    for _ in range(4):
        world.work()
    world.places[1].away = False
    world.job.round()
    assert world.places[1].numbers == [3, 4]


def test_a_trail_of_other_keys_is_a_problem_until_it_is_mended(world: World) -> None:
    world.work()
    append(world.database, world.trail, event())
    world.now += EVERY
    state = world.trail.keys.newest
    with world.database.write() as connection:
        connection.execute(update(audit_state).values(seal=bytes(32)))
        connection.execute(update(audit_chains).values(begun_at=NOW - EVERY))
    world.job.round()
    assert "put the file back from a backup" in world.job.problem
    assert state.name == world.trail.keys.newest.name
    with world.database.write() as connection:
        connection.execute(update(audit_chains).values(begun_at=NOW))
    world.job.round()
    assert world.job.problem == ""
    assert world.places[0].numbers == [1, 2]
