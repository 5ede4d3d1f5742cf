"""Changes of a SQLite database: none is lost, whatever the order of acts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from mailstore.db.database import Database
from mailstore.news import sqlite_changes
from mailstore.news.changes import note_changed
from mailstore.news.sqlite_changes import SqliteChanges, suppress_busy
from mailstore.news.watchers import Watcher, Watchers
from tests.support.storage.news import change, deliver, open_mailboxes

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

BOXES = 4
SOME = st.sets(st.integers(0, BOXES - 1), min_size=1)


@pytest.fixture
def boxes(database: Database) -> list[int]:
    return open_mailboxes(database, BOXES)


@pytest.fixture
def changes(database: Database, boxes: list[int]) -> Iterator[SqliteChanges]:
    assert boxes
    with closing(SqliteChanges(Path(str(database.url.database)))) as made:
        made.start()
        yield made


def test_a_delivery_and_a_change_are_found_once(
    database: Database, boxes: list[int], changes: SqliteChanges
) -> None:
    assert not changes.moved()
    deliver(database, boxes[:2])
    change(database, boxes[2:3])
    assert changes.moved()
    assert changes.read() == set(boxes[:3])
    assert not changes.moved()
    assert changes.read() == set()


def test_a_delivery_writes_no_row_of_news(
    database: Database, boxes: list[int], changes: SqliteChanges
) -> None:
    deliver(database, boxes)
    assert changes.read() == set(boxes)
    with database.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM mailbox_news").scalar_one() == 0


def test_a_change_that_is_undone_is_none(
    database: Database, boxes: list[int], changes: SqliteChanges
) -> None:
    with database.connect() as conn, conn.begin() as transaction:
        note_changed(conn, boxes)
        transaction.rollback()
    assert not changes.moved()


def test_many_entries_are_read_in_batches(
    database: Database,
    boxes: list[int],
    changes: SqliteChanges,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite_changes, "_BATCH", 3)
    for box in boxes[:3]:
        deliver(database, [box] * 3)
    assert changes.read() == set(boxes[:3])


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path, dialect: str) -> None:
    missing = tmp_path / f"missing-{dialect}.db"
    with pytest.raises(sqlite3.OperationalError):
        SqliteChanges(missing)
    assert not missing.exists()


def test_only_a_lock_of_another_is_waited_out(database: Database) -> None:
    path = str(database.url.database)
    with (
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as one,
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
    ):
        one.execute("BEGIN IMMEDIATE")
        with suppress_busy():
            other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError), suppress_busy():
            other.execute("SELECT * FROM unknown_table")


class Machine(RuleBasedStateMachine):
    """Watchers of one process, stepped by hand. `owed`: watchers with a change since their look."""

    def __init__(self, database: Database, boxes: list[int]) -> None:
        super().__init__()
        self.database, self.boxes = database, boxes
        self.changes = SqliteChanges(Path(str(database.url.database)))
        self.changes.start()
        self.watchers = Watchers()
        self.open: list[Watcher] = []
        self.owed: set[Watcher] = set()
        self.touched: set[int] = set()

    @rule(box=st.integers(0, BOXES - 1))
    def watch(self, box: int) -> None:
        self.open.append(self.watchers.add(self.boxes[box]))

    @rule(some=SOME, delivered=st.booleans())
    def change(self, some: set[int], delivered: bool) -> None:
        ids = {self.boxes[number] for number in some}
        (deliver if delivered else change)(self.database, ids)
        self.touched |= ids
        self.owed |= {one for one in self.open if one.mailbox_id in ids}

    @rule()
    def poll(self) -> None:
        if self.changes.moved():
            self.watchers.tell(self.changes.read())
        assert all(one.told for one in self.owed)
        assert all(one.mailbox_id in self.touched for one in self.open if one.told)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """Looking shows all that is committed."""
        one = data.draw(st.sampled_from(self.open))
        if one.told:
            with pytest.raises(StopIteration):
                one.changed().send(None)
        self.owed.discard(one)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.open))
        one.close()
        self.open.remove(one)
        self.owed.discard(one)

    def teardown(self) -> None:
        self.poll()
        self.changes.close()
        self.watchers.close()
        assert not self.watchers.present.is_set()


def test_every_change_after_watching_is_told(database: Database, boxes: list[int]) -> None:
    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(database, boxes)

    run_state_machine_as_test(Here)
