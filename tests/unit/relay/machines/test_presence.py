"""A name in a shared database is held by one machine, even if another has a copy of it."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.machines import presence
from relay.machines.presence import MachinePresence
from relay.machines.rows import (
    Machine,
    all_machines,
    delete_machine,
    find_machine,
    insert_machine,
    update_machine,
)
from relay.machines.schema import machines
from tests.support.clock import NOW

ROW = Machine("node", "here", 7, NOW)


def held(database: Database, proof: str = "here", running: float = 0.0) -> MachinePresence:
    return MachinePresence(
        database, "node", proof, lambda: NOW, random.Random(proof), lambda: running
    )


def row(database: Database) -> Machine | None:
    with database.read() as connection:
        return find_machine(connection, "node")


@dataclass
class Unheard(Database):
    """A database whose commits are done, but not confirmed."""

    inner: Database
    fails: bool = field(default=True)

    def __post_init__(self) -> None:
        self.url = self.inner.url

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self.inner.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self.inner.write() as connection:
            yield connection
        if self.fails:
            raise StoreUnavailable("the connection was lost")


def test_rows_are_changed_only_as_seen(database: Database) -> None:
    other = Machine("other", "there", 1, NOW)
    with database.write() as connection:
        assert insert_machine(connection, ROW)
        assert not insert_machine(connection, replace(ROW, proof="there"))
        assert insert_machine(connection, other)
        newer = replace(ROW, beat=8)
        for wrong in (replace(ROW, beat=6), replace(ROW, proof="there"), replace(ROW, name="x")):
            assert not update_machine(connection, wrong, newer)
            assert not delete_machine(connection, wrong)
        assert update_machine(connection, ROW, newer)
        assert all_machines(connection) == [newer, other]
        assert delete_machine(connection, newer)
        assert all_machines(connection) == [other]


def test_a_name_is_taken_once_and_counted_on(database: Database) -> None:
    one, two = held(database), held(database, "there")
    assert one.read() is None
    assert one.claim(None)
    assert not two.claim(None)  # both saw no row
    first = row(database)
    assert first is not None
    assert one.count_beat()
    assert not two.claim(first)  # the row is no longer as seen
    second = row(database)
    assert second is not None
    assert first.beat < second.beat <= first.beat + presence.STEP
    assert (second.proof, second.seen_at >= first.seen_at) == ("here", True)


def test_whoever_is_taken_over_finds_out_and_changes_nothing(database: Database) -> None:
    one, two = held(database), held(database, "there")
    assert one.claim(None)
    assert two.claim(two.read())
    before = row(database)
    assert not one.count_beat()
    assert row(database) == before
    assert two.count_beat()
    assert not one.count_beat()


def test_a_copy_of_the_whole_memory_is_found_out(database: Database) -> None:
    # A virtual machine that was cloned while it ran: even the proof is the same.
    one = held(database)
    assert one.claim(None)
    two = copy.copy(one)
    two.randomness, two._unconfirmed = random.Random("two"), set()
    assert one.count_beat()
    assert not two.count_beat()
    assert one.count_beat()


@pytest.mark.parametrize("older", ["none", "lower"])
def test_a_database_with_an_older_state_is_no_other_machine(database: Database, older: str) -> None:
    # After a fail-over to a standby that lagged.
    one = held(database)
    assert one.claim(None)
    first = row(database)
    assert first is not None
    for _ in range(3):
        assert one.count_beat()
    with database.write() as connection:
        connection.execute(delete(machines))
        if older == "lower":
            assert insert_machine(connection, first)
    for _ in range(3):
        assert one.count_beat()
    assert row(database) is not None


def test_a_count_that_was_not_heard_of_is_our_own(database: Database) -> None:
    one = held(database)
    assert one.claim(None)
    one.database = unheard = Unheard(database)
    for _ in range(3):  # each is on disk
        with pytest.raises(StoreUnavailable):
            one.count_beat()
    unheard.fails = False
    assert one.count_beat()
    assert one.count_beat()


def test_the_age_of_a_count_is_that_of_its_beginning(database: Database) -> None:
    now = 100.0
    one = MachinePresence(database, "node", "here", lambda: NOW, random.Random(1), lambda: now)
    assert one.since_count == float("inf")
    assert one.claim(None)
    now = 104.0
    assert one.since_count == 4.0
    one.database = Unheard(database)
    with pytest.raises(StoreUnavailable):
        one.count_beat()
    assert one.since_count == 4.0
    one.database = database
    assert one.count_beat()
    assert one.since_count == 0.0


def test_nothing_is_counted_on_that_was_not_taken(database: Database) -> None:
    with pytest.raises(ValueError, match="not taken"):
        held(database).count_beat()


Step = Callable[[MachinePresence], object]


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_of_several_with_one_name_one_holds_it(
    database: Database, steps: list[tuple[str, bool]]
) -> None:
    """Each looks, and takes over or counts, in any order: the last to count has the row."""
    with database.write() as connection:
        connection.execute(delete(machines))
    all_of_them = {proof: held(database, proof) for proof in "abc"}
    holder = ""
    for proof, takes in steps:
        one = all_of_them[proof]
        if takes:
            assert one.claim(one.read())
            holder = proof
        elif one._row is not None:
            assert one.count_beat() == (proof == holder)
    found = row(database)
    assert (found.proof if found is not None else "") == holder
