"""The trace journal with little room: strangers' events are dropped first, mail keeps its floor."""

import os
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from foundation.journal import writer as journal_module
from foundation.journal.writer import MAX_PENDING, Journal
from tests.support.clock import NOW
from tests.support.delivery.journal import events
from tests.support.waiting import until_now

ROOT = Path(__file__).parents[4]
HOUR = Path("2026-11-22", "10.jsonl")
AT = "2026-11-22T10:11:12.131+00:00"
SESSION = "0199" + 28 * "a"


def lost(journal: Journal, number: int) -> bool:
    """Whether `number` events of strangers were lost."""
    return journal.lost_stranger_events == number


class TestStrangers:
    """Events of strangers are dropped first: events of peers will be asked for."""

    @pytest.mark.integration
    def test_they_have_less_room_and_lose_it_to_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / HOUR).parent.mkdir()
        os.mkfifo(tmp_path / HOUR)  # opening it to write waits for a reader
        journal = Journal(tmp_path, lambda: NOW)
        journal.record("refused", number=-1)
        until_now(lambda: not journal._pending)  # the writer has it, and waits for ever
        text, count = "x" * 10_000, MAX_PENDING // 10_000
        for number in range(count):
            journal.record_stranger("refused", who="stranger", number=number, text=text)
        dropped = journal.lost_stranger_events
        assert count * 0.7 < dropped < count
        for number in range(count - 20):
            journal.record("refused", who="peer", number=number, text=text)
        assert journal.lost_events == 0
        assert journal.lost_stranger_events == count
        for _ in range(count):
            journal.record("refused", who="peer", text=text)
        assert journal.lost_events > 0
        assert journal._size <= MAX_PENDING
        monkeypatch.setattr(journal_module, "CLOSE_SECONDS", 0.01)
        journal.close()
        reader, octets = os.open(tmp_path / HOUR, os.O_RDWR), b""
        while b'"number":%d,' % (count - 21) not in octets or not octets.endswith(b"\n"):
            octets += os.read(reader, 1_000_000)
        journal._writer.join()
        os.close(reader)
        assert b"stranger" not in octets.replace(b'"strangers":', b"")

    def test_a_gap_says_how_many_were_strangers(self, tmp_path: Path) -> None:
        endless: list[object] = []
        endless.append(endless)
        journal = Journal(tmp_path, lambda: NOW)
        journal.record("refused", a=endless)
        journal.record_stranger("refused", a=endless)
        journal.record_stranger("refused", a=endless)
        journal.record_stranger("refused", a=1)
        journal.close()
        gap, found = events(tmp_path / HOUR)
        assert (gap["event"], gap["events"], gap["strangers"]) == ("journal.dropped", 3, 2)
        assert found["a"] == 1


class TestTheFloor:
    """The journal stops before mail has no room: 25 GB an hour have filled disks."""

    @pytest.mark.parametrize(
        ("share", "kept"),
        [
            pytest.param(0.5, ["peer", "stranger"], id="room for all"),
            pytest.param(0.7, ["peer"], id="room for peers"),
            pytest.param(0.9, [], id="room for mail"),
        ],
    )
    def test_it_stops_in_time(self, tmp_path: Path, share: float, kept: list[str]) -> None:
        disk = os.statvfs(tmp_path)
        floor = int(disk.f_bavail * disk.f_frsize * share)
        journal = Journal(tmp_path / "trace", lambda: NOW, floor=floor)
        journal.record("refused", who="peer")
        journal.record_stranger("refused", who="stranger")
        with capture_logs() as logs:
            journal.close()
        path = tmp_path / "trace" / HOUR
        found = [event["who"] for event in events(path) if "who" in event] if kept else []
        assert found == kept
        assert path.exists() is bool(kept)
        assert (journal.lost_events, journal.lost_stranger_events) == (
            "peer" not in kept,
            "stranger" not in kept,
        )
        assert [entry["event"] for entry in logs] == ([] if kept else ["journal.unwritable"])
        assert journal.failing is (not kept)


class TestTelling:
    """Gaps are reported, not too often; the end of a fault is noticed without an event too."""

    @pytest.mark.integration
    def test_trouble_ends_without_another_event(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A server that is not ready gets no sessions, so no event would test the disk.
        monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.05)
        folder = tmp_path / "trace"
        folder.write_bytes(b"in the way")
        journal = Journal(folder, lambda: NOW)
        journal.record("refused")
        until_now(lambda: journal.failing)
        folder.unlink()
        until_now(lambda: not journal.failing, 10)
        (gap,) = events(folder / HOUR)
        assert (gap["event"], gap["events"]) == ("journal.dropped", 1)
        journal.close()
        assert len(events(folder / HOUR)) == 1

    def test_strangers_dropped_again_and_again_are_told_of_once_a_minute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal_module, "PAUSE", 0.01)
        disk = os.statvfs(tmp_path)
        journal = Journal(
            tmp_path / "trace", lambda: NOW, floor=int(disk.f_bavail * disk.f_frsize * 0.7)
        )
        for number in range(1, 11):
            journal.record_stranger("refused")
            until_now(partial(lost, journal, number))
        journal.close()
        gaps = events(tmp_path / "trace" / HOUR)
        assert [gap["event"] for gap in gaps] == ["journal.dropped"] * 2  # the last at the end
        assert sum(gap["strangers"] for gap in gaps) == 10

    @pytest.mark.integration
    def test_the_last_of_them_are_told_of_without_another_event(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, seconds in (("PAUSE", 0.01), ("RETRY_SECONDS", 0.05), ("GAP_SECONDS", 1.0)):
            monkeypatch.setattr(journal_module, name, seconds)
        disk = os.statvfs(tmp_path)
        journal = Journal(
            tmp_path / "trace", lambda: NOW, floor=int(disk.f_bavail * disk.f_frsize * 0.7)
        )
        for number in (1, 2):
            journal.record_stranger("refused")
            until_now(partial(lost, journal, number))
        until_now(lambda: journal._told.strangers == 2, 10)
        journal.close()
        assert sum(gap["strangers"] for gap in events(tmp_path / "trace" / HOUR)) == 2
