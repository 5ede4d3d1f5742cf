"""Trace journal read from its newest event backwards."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from foundation.ids import new_id
from foundation.journal.files import hour_file, hours
from foundation.journal.newest import hours_between, in_order, newest_events
from foundation.journal.search import Event
from foundation.journal.writer import Journal

BEGIN = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def record(folder: Path, *events: tuple[datetime, str, Mapping[str, object]]) -> None:
    for at, name, facts in events:
        journal = Journal(folder, lambda at=at: at)  # type: ignore[misc] # bound now
        journal.record(name, **facts)
        journal.close()


def key(at: datetime, number: int = 0) -> str:
    return new_id(at, number.to_bytes(10, "big"))


def names(folder: Path, wanted: set[str], needle: bytes = b"") -> list[object]:
    found = []
    for one in reversed(hours(folder)):
        found += [event.facts.get("n") for event in newest_events(one.path, wanted, needle)]
    return found


def test_the_newest_event_comes_first_over_all_files(tmp_path: Path) -> None:
    record(
        tmp_path,
        *((BEGIN + at * 30 * MINUTE, "accepted", {"n": at}) for at in range(5)),
        (BEGIN, "refused", {"n": 9}),
        (BEGIN, "submitted", {"n": 10}),
    )
    assert names(tmp_path, {"accepted"}) == [4, 3, 2, 1, 0]
    assert names(tmp_path, {"accepted", "submitted"}) == [4, 3, 2, 10, 1, 0]
    assert names(tmp_path, {"unknown"}) == []


def test_a_needle_is_found_in_any_case(tmp_path: Path) -> None:
    record(
        tmp_path,
        (BEGIN, "accepted", {"n": 1, "sender": "Dr.Martin@b.fr"}),
        (BEGIN, "accepted", {"n": 2, "sender": "x@b.fr"}),
    )
    assert names(tmp_path, {"accepted"}, b"dr.martin") == [1]


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":"2026-11-23T14:00:00+00:00","event":"accepted","n":',
        b'"event":"accepted"',
        b'{"at":"no time","event":"accepted"}',
        b'{"at":"2026-11-23T14:00:00+00:00","event":"other","x":{"event":"accepted"}}',
        b'\xff{"event":"accepted"}',
        b"\n\n",
    ],
)
def test_a_malformed_line_is_skipped(tmp_path: Path, line: bytes) -> None:
    record(tmp_path, (BEGIN, "accepted", {"n": 1}))
    path = hours(tmp_path)[0].path
    path.write_bytes(line + b"\n" + path.read_bytes() + line)
    assert names(tmp_path, {"accepted"}) == [1]


def test_files_that_are_gone_or_empty_have_no_events(tmp_path: Path) -> None:
    path = hour_file(tmp_path, BEGIN.isoformat())
    assert list(newest_events(path, {"accepted"})) == []
    path.parent.mkdir()
    path.touch()
    assert list(newest_events(path, {"accepted"})) == []


def test_only_files_of_the_span_are_read(tmp_path: Path) -> None:
    record(tmp_path, *((BEGIN + at * HOUR, "accepted", {}) for at in range(6)))

    def begins(since: datetime, until: datetime) -> list[int]:
        return [(one.begins - BEGIN) // HOUR for one in hours_between(tmp_path, since, until)]

    middle = BEGIN + 2 * HOUR + 30 * MINUTE
    assert begins(middle, middle) == [2]
    # Clocks of processes differ: an event may be in the file beside.
    assert begins(BEGIN + 2 * HOUR, middle) == [2, 1]
    assert begins(middle, BEGIN + 3 * HOUR - MINUTE) == [3, 2]
    assert begins(BEGIN - 9 * HOUR, BEGIN + 99 * HOUR) == [5, 4, 3, 2, 1, 0]


def test_events_that_were_written_out_of_order_are_put_right() -> None:
    at = [BEGIN + minutes * MINUTE for minutes in (20, 12, 15, 3, 5, 0)]
    events = [Event(when, "accepted", {"message": key(when)}) for when in at]
    events.insert(2, Event(BEGIN, "accepted", {"message": "no identifier"}))
    events.insert(1, Event(at[0], "accepted", {}))
    found = [message for message, _ in in_order(events)]
    assert found == sorted(map(key, at), reverse=True)


def test_order_needs_no_whole_journal_in_memory() -> None:
    read = 0

    def events() -> Iterator[Event]:
        nonlocal read
        for minutes in range(1000):
            read += 1
            when = BEGIN - minutes * MINUTE
            yield Event(when, "accepted", {"message": key(when)})

    first, _ = next(in_order(events()))
    assert first == key(BEGIN)
    assert read < 20
