"""Search for sessions and messages in journals of many hours, written by real journals."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from foundation.ids import new_id
from foundation.journal import search as journal_search
from foundation.journal.files import hour_file, hours
from foundation.journal.search import SearchResult, find
from foundation.journal.writer import Journal
from tests.support.clock import NOW

LIFE = timedelta(days=6)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
LATE = NOW.replace(hour=23, minute=58)


class Recorder:
    """Writes events at given times, like a long-lived process."""

    def __init__(self, folder: Path) -> None:
        self._now = NOW
        self._journal = Journal(folder, lambda: self._now)

    def at(self, now: datetime, event: str, **facts: object) -> None:
        self._now = now
        self._journal.record(event, **facts)

    def close(self) -> None:
        self._journal.close()


@contextmanager
def recording(folder: Path) -> Iterator[Recorder]:
    recorder = Recorder(folder)
    try:
        yield recorder
    finally:
        recorder.close()


def key(at: datetime, number: int = 0) -> str:
    return new_id(at, number.to_bytes(10, "big"))


def names(trace: SearchResult) -> list[str]:
    return [event.name for event in trace.events]


def look(folder: Path, identifier: str, now: datetime = NOW + 2 * LIFE) -> SearchResult:
    return find(folder, identifier, now, LIFE)


def test_a_session_over_midnight_by_time_among_many_others(tmp_path: Path) -> None:
    session = key(LATE)
    with recording(tmp_path) as record:
        record.at(LATE, "session.opened", session=session, address="192.0.2.1")
        record.at(LATE + 600 * SECOND, "refused", session=session, rule="listed")
        record.at(LATE + 601 * SECOND, "session.closed", session=session)
        for number in range(1, 2000):
            other = key(LATE, number)
            record.at(LATE + number * SECOND, "session.opened", session=other)
            record.at(LATE + number * SECOND, "session.closed", session=other)
    found = look(tmp_path, session)
    assert names(found) == ["session.opened", "refused", "session.closed"]
    assert found.events[0].at == LATE.replace(microsecond=131000)
    assert found.events[1].facts == {"session": session, "rule": "listed"}
    assert len(list(tmp_path.rglob("*.jsonl"))) == 2


def test_only_facts_that_are_the_identifier_count(tmp_path: Path) -> None:
    session, other = key(NOW), key(NOW, 1)
    with recording(tmp_path) as record:
        record.at(NOW, "refused", session=other, detail=f"said {session}")
        record.at(NOW, "refused", session=session + "0")
        record.at(NOW, session, session=other)
        record.at(NOW, "refused", session=[session])
        record.at(NOW, "refused", detail=session)
        record.at(NOW, "refused", session=session, number=1)
    (event,) = look(tmp_path, session).events
    assert event.facts["number"] == 1


def test_a_message_with_its_session_and_its_deliveries(tmp_path: Path) -> None:
    start = LATE - 20 * HOUR
    session, message, sibling = key(start), key(LATE), key(LATE, 1)
    with recording(tmp_path) as record:
        record.at(start, "session.opened", session=session)
        record.at(start, "tls.started", session=session)
        record.at(LATE, "accepted", session=session, message=message)
        record.at(LATE, "accepted", session=session, message=sibling)
        record.at(LATE + 4 * HOUR, "session.closed", session=session)
        record.at(LATE + SECOND, "delivery.attempted", message=message, attempt=1)
        record.at(LATE + SECOND, "delivery.attempted", message=sibling, attempt=1)
        record.at(LATE + 5 * 24 * HOUR, "delivery.attempted", message=message, attempt=2)
    head = ["session.opened", "tls.started", "accepted"]
    found = look(tmp_path, message)
    attempt = "delivery.attempted"
    assert names(found) == [*head, attempt, "session.closed", attempt]
    assert {key for event in found.events for key in event.messages} == {message}
    assert names(look(tmp_path, sibling)) == [*head, attempt, "session.closed"]
    # A session comes with the messages in it.
    whole = look(tmp_path, session)
    assert names(whole) == [*head, "accepted", attempt, attempt, "session.closed", attempt]


def test_a_receipt_comes_with_the_message_that_asked_for_it(tmp_path: Path) -> None:
    # A report of success (RFC 3461 §6.2) is a message of our own, queued with the one it is on.
    session, message, receipt = key(NOW), key(NOW, 1), key(NOW, 2)
    with recording(tmp_path) as record:
        record.at(NOW, "session.opened", session=session)
        record.at(NOW, "accepted", session=session, message=message, receipt=receipt)
        record.at(NOW + HOUR, "session.closed", session=session)
        record.at(NOW + 2 * HOUR, "delivery.attempted", message=receipt)
    story = ["session.opened", "accepted", "session.closed", "delivery.attempted"]
    assert names(look(tmp_path, receipt)) == story
    assert names(look(tmp_path, session)) == story
    assert names(look(tmp_path, message)) == story[:3]


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "end",
    [
        ("queue.forgotten", {}),
        ("queue.dropped", {"who": "anne"}),
        ("delivery.attempted", {"state": "delivered"}),
    ],
    ids=lambda end: end[0],
)
def test_a_message_is_followed_until_its_deliveries_have_ended(
    tmp_path: Path, end: tuple[str, dict[str, object]]
) -> None:
    message, delivery = key(NOW), {"message": key(NOW), "delivery": 7}
    last = NOW + 35 * DAY
    with recording(tmp_path) as journal:
        journal.at(NOW + DAY, "delivery.attempted", **delivery, state="waiting")
        journal.at(NOW + 5 * DAY, "delivery.expired", **delivery)
        journal.at(NOW + 20 * DAY, "queue.retried", **delivery)
        journal.at(last, end[0], **delivery, **end[1])
        journal.at(last + 15 * DAY, "x", **delivery)
    found = look(tmp_path, message, NOW + 90 * DAY)
    assert last - found.events[-1].at < SECOND
    assert len(found.events) == 4
    assert found.searched is not None
    assert found.searched[1] < last + 8 * DAY  # not the whole journal


def test_what_arrived_is_not_looked_for_any_further(tmp_path: Path) -> None:
    with recording(tmp_path) as journal:
        journal.at(NOW, "delivery.attempted", message=key(NOW), delivery=7, state="delivered")
        journal.at(NOW + 2 * LIFE, "x", session=key(NOW, 5))
    searched = look(tmp_path, key(NOW), NOW + 3 * LIFE).searched
    assert searched is not None
    assert searched[1] <= NOW + LIFE


def test_a_report_leads_to_what_it_is_about(tmp_path: Path) -> None:
    message, report = key(NOW), key(NOW + DAY, 1)
    with recording(tmp_path) as journal:
        journal.at(NOW, "delivery.attempted", message=message, delivery=7, state="waiting")
        journal.at(NOW + DAY, "report.sent", message=message, delivery=7, report=report)
        journal.at(NOW + DAY, "delivery.attempted", message=report, delivery=8, state="delivered")
    assert names(look(tmp_path, report)) == ["report.sent", "delivery.attempted"]
    assert names(look(tmp_path, message)) == ["delivery.attempted", "report.sent"]


def test_a_session_that_never_closed_ends_after_25_hours(tmp_path: Path) -> None:
    session = key(NOW)
    with recording(tmp_path) as record:
        record.at(NOW, "session.opened", session=session)
        record.at(NOW + 25 * HOUR, "refused", session=session)
        record.at(NOW + 30 * HOUR, "unheard-of", session=session)
    found = look(tmp_path, session)
    assert names(found) == ["session.opened", "refused"]
    assert found.searched == (NOW.replace(minute=0, second=0, microsecond=0), _top(26))


def _top(later: int) -> datetime:
    return NOW.replace(minute=0, second=0, microsecond=0) + later * HOUR


def test_the_search_ends_with_the_session(tmp_path: Path) -> None:
    session = key(NOW)
    with recording(tmp_path) as record:
        for later in range(48):
            record.at(NOW + later * HOUR, "refused", session=key(NOW + later * HOUR, 1))
        record.at(NOW, "session.opened", session=session)
        record.at(NOW + HOUR, "session.closed", session=session)
    assert look(tmp_path, session).searched == (_top(0), _top(2))
    assert look(tmp_path, key(NOW, 9)).searched == (_top(0), _top(48))
    assert look(tmp_path, key(NOW + 9 * HOUR, 9)).searched == (_top(9), _top(48))
    assert look(tmp_path, key(NOW, 9), NOW + 5 * HOUR).searched == (_top(0), _top(6))


def test_clocks_may_differ_a_little(tmp_path: Path) -> None:
    top = _top(0)
    session = key(top + 300 * SECOND)
    with recording(tmp_path) as record:
        record.at(top - 5 * SECOND, "session.opened", session=session)
        record.at(top, "session.closed", session=session)
    assert names(look(tmp_path, session)) == ["session.opened", "session.closed"]


def test_what_is_known_later_is_found_where_the_beginning_is_gone(tmp_path: Path) -> None:
    # Pruned, or written by another machine: only events after the life of the message are here.
    message, session = key(NOW), key(NOW, 1)
    with recording(tmp_path) as journal:
        journal.at(NOW + 30 * DAY, "queue.held", message=message, delivery=7)
        journal.at(NOW + 80 * DAY, "queue.dropped", message=message, delivery=7)
        journal.at(NOW + 81 * DAY, "x", session=session)
    assert names(look(tmp_path, message, NOW + 82 * DAY)) == ["queue.held", "queue.dropped"]
    assert names(look(tmp_path, session, NOW + 82 * DAY)) == ["x"]


def test_what_is_unknown_is_looked_for_to_the_end(tmp_path: Path) -> None:
    with recording(tmp_path) as record:
        record.at(NOW, "session.opened", session=key(NOW))
    old = look(tmp_path, key(NOW - timedelta(days=300)))
    assert old == SearchResult((), (_top(0), _top(1)))
    assert look(tmp_path / "none", key(NOW)) == SearchResult((), None)


@pytest.mark.parametrize("ahead", [timedelta(days=60), timedelta(days=2_000_000)])
def test_an_identifier_of_a_clock_that_was_ahead(tmp_path: Path, ahead: timedelta) -> None:
    # Made and first recorded 60 days ahead; then the clock was corrected, and it was delivered.
    message, session = key(NOW + ahead), key(NOW + ahead, 1)
    with recording(tmp_path) as journal:
        journal.at(NOW, "delivery.attempted", message=message, delivery=7, state="delivered")
        journal.at(NOW, "session.closed", session=session)
        journal.at(NOW + ahead, "accepted", message=message, session=session)
    story = ["delivery.attempted", "session.closed", "accepted"]
    assert names(look(tmp_path, message, NOW + HOUR)) == story
    assert names(look(tmp_path, session, NOW + HOUR)) == story


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":"2026-11-22T10:11:12.131+00:00","event":"refused","session":"ID"',
        b'{"event":"refused","session":"ID"}',
        b'{"at":"noon","event":"refused","session":"ID"}',
        b'{"at":"2026-11-22T10:11:12","event":"refused","session":"ID"}',
        b'{"at":"2026-11-22T10:11:12.131+00:00","session":"ID"}',
        b'{"at":1,"event":"refused","session":"ID"}',
        b'["ID"]',
        b'"ID"',
        b"ID",
        b'\xff"session":"ID"',
        b"\0" * 100 + b"ID",
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["cut", "ended"])
def test_what_is_no_event_is_passed_over(tmp_path: Path, line: bytes, end: bytes) -> None:
    session = key(NOW)
    path = hour_file(tmp_path, NOW.isoformat())
    path.parent.mkdir()
    path.write_bytes(line.replace(b"ID", session.encode()) + end)
    with recording(tmp_path) as record:
        record.at(NOW, "session.opened", session=session)
        record.at(NOW, "session.closed", session=session)
    with path.open("ab") as file:
        file.write(line.replace(b"ID", session.encode()) + end)
    assert names(look(tmp_path, session)) == ["session.opened", "session.closed"]


def test_an_empty_file_and_one_pruned_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = key(NOW)
    with recording(tmp_path) as record:
        for later in range(4):
            record.at(NOW + later * HOUR, "refused", session=session, hour=later)
    listed = hours(tmp_path)
    listed[1].path.write_bytes(b"")
    listed[2].path.unlink()
    monkeypatch.setattr(journal_search, "hours", lambda _: listed)
    assert [event.facts["hour"] for event in look(tmp_path, session).events] == [0, 3]


def test_a_session_of_a_thousand_messages(tmp_path: Path) -> None:
    session = key(NOW)
    messages = [key(NOW + number * SECOND, number) for number in range(1, 1001)]
    with recording(tmp_path) as record:
        for message in messages:
            record.at(NOW, "accepted", session=session, message=message)
            record.at(NOW + 2 * HOUR, "delivery.attempted", message=message)
            record.at(NOW + 2 * HOUR, "delivery.attempted", message=key(NOW, 5000))
        record.at(NOW + HOUR, "session.closed", session=session)
    found = look(tmp_path, session)
    assert {key for event in found.events for key in event.messages} == set(messages)
    assert len(found.events) == 2001


def test_lines_are_those_that_other_tools_read(tmp_path: Path) -> None:
    session = key(NOW)
    with recording(tmp_path) as record:
        record.at(NOW, "refused", session=session, detail="a\nb\u2028c\x1b")
    text = hour_file(tmp_path, NOW.isoformat()).read_text("ascii").strip()
    assert len(text.splitlines()) == 1
    assert json.loads(text)["detail"] == "a\nb\u2028c\x1b"
