"""The job of anchors: a place that is away is tried again, and nothing else waits for it."""

import asyncio
import os
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from mailstore.audit.statement import SignedStatement, parse_statement
from mailstore.audit.trail import AuditTrail
from mailstore.db.audit_schema import audit_chains, audit_state
from mailstore.db.database import Database
from mssante_operator.assembly.people.anchor_places import FilePlace
from mssante_operator.jobs import audit_anchors
from mssante_operator.jobs.audit_anchors import AnchorJob
from tests.support.audit.trails import append, audit_keys, event
from tests.support.clock import NOW

EVERY = timedelta(minutes=15)


def open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@dataclass
class ListedPlace:
    """A place that keeps the numbers of anchors, or is away."""

    name: str
    away: bool = False
    error: Exception | None = None
    numbers: list[int] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=open_gate)
    came: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue)

    def send(self, anchors: Sequence[SignedStatement]) -> None:
        self.asked.set()
        self.gate.wait()
        if self.away:
            raise OSError("it is away")
        if self.error is not None:
            raise self.error
        for one in anchors:
            number = parse_statement(one.statement).number
            self.numbers.append(number)
            self.came.put(number)


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
        self.round()

    def round(self) -> None:
        """Steps of the job, in turn."""
        self.job.make()
        for place in self.places:
            self.job.send(place)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def test_each_place_gets_each_anchor_once(world: World) -> None:
    world.round()
    world.work()
    world.now += EVERY
    world.round()  # no new row
    world.work()
    assert [place.numbers for place in world.places] == [[1, 2], [1, 2]]


def test_anchors_are_no_closer_than_configured(world: World) -> None:
    world.work()
    append(world.database, world.trail, event())
    world.now += EVERY / 3
    world.round()  # as another machine of the store would
    assert world.places[0].numbers == [1]
    world.now += EVERY / 3
    world.round()
    assert world.places[0].numbers == [1, 2]


def test_a_clock_set_back_stops_no_anchor(world: World) -> None:
    world.work()
    append(world.database, world.trail, event())
    world.now -= timedelta(days=1)
    world.round()
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
    world.round()
    assert far.numbers == [1, 2, 3]
    assert world.job.unsent == {}


def test_a_new_place_gets_the_newest_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_anchors, "MOST", 2)
    world.places[1].away = True
    for _ in range(4):
        world.work()
    world.places[1].away = False
    world.round()
    assert world.places[1].numbers == [3, 4]


def test_a_trail_of_other_keys_is_a_problem_until_it_is_mended(world: World) -> None:
    world.work()
    append(world.database, world.trail, event())
    world.now += EVERY
    state = world.trail.keys.newest
    with world.database.write() as connection:
        connection.execute(update(audit_state).values(seal=bytes(32)))
        connection.execute(update(audit_chains).values(begun_at=NOW - EVERY))
    world.round()
    assert "put the file back from a backup" in world.job.problem
    assert state.name == world.trail.keys.newest.name
    with world.database.write() as connection:
        connection.execute(update(audit_chains).values(begun_at=NOW))
    world.round()
    assert world.job.problem == ""
    assert world.places[0].numbers == [1, 2]


async def test_a_place_that_never_answers_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file on a network disk that is gone: not even an error comes."""
    monkeypatch.setattr(audit_anchors, "AGAIN_SECONDS", 0.01)
    near, far = world.places
    far.gate.clear()
    append(world.database, world.trail, event())
    first = world.now
    world.job.every = timedelta(milliseconds=1)
    running = asyncio.ensure_future(world.job.run())
    try:
        await asyncio.to_thread(far.asked.wait)
        await reached(near, 1)
        world.now += EVERY
        append(world.database, world.trail, event())
        await reached(near, 2)
        # The alarm counts from the first anchor that it lacks.
        assert world.job.unsent[far.name] == (first, "it has not answered yet")
        assert far.numbers == []
    finally:
        far.gate.set()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def reached(place: ListedPlace, number: int) -> None:
    """Wait until a place gets an anchor."""
    while await asyncio.to_thread(place.came.get, timeout=30) != number:
        pass


def test_an_error_that_nobody_expects_stops_no_other_place(world: World) -> None:
    near, far = world.places
    near.error = ValueError("a library's")
    world.work()
    assert far.numbers == [1]
    assert world.job.unsent == {near.name: (world.now, "a library's")}
    assert world.job.problem == ""


def test_a_pipe_is_no_place_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"No such device|not a regular file"):
        FilePlace("file:pipe", tmp_path / "pipe").send([])
