"""The trace journal on a real disk: no line is torn or doubled, and mail never waits for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from foundation.journal import writer as journal_module
from foundation.journal.writer import MAX_LINE, MAX_PENDING, Journal, _compose, _left
from tests.support.clock import NOW
from tests.support.delivery.journal import events
from tests.support.waiting import until_now

ROOT = Path(__file__).parents[4]
HOUR = Path("2026-11-22", "10.jsonl")
AT = "2026-11-22T10:11:12.131+00:00"
SESSION = "0199" + 28 * "a"


@contextmanager
def child(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that records; killed at the end if it still runs."""
    head = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from foundation.journal.writer import Journal\n"
        "NOW = datetime(2026, 11, 22, 10, 11, 12, 131415, tzinfo=UTC)\n"
        "journal = Journal(Path(sys.argv[1]), lambda: NOW)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", head + script, *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def written(folder: Path, *recorded: dict[str, Any]) -> list[dict[str, Any]]:
    """Record facts and read them back."""
    journal = Journal(folder, lambda: NOW)
    for facts in recorded:
        journal.record("refused", **facts)
    journal.close()
    return events(folder / HOUR)


class TestWhatIsWritten:
    def test_who_when_what_request_response_failure(self, tmp_path: Path) -> None:
        # DOMAIN §9.59
        journal = Journal(tmp_path / "trace", lambda: NOW, process="worker:1")
        facts = {"session": SESSION, "command": "RCPT", "reply": "550 5.1.1 é", "size": 0}
        journal.record("refused", **facts, recipients=["x@b.mssante.fr"])
        journal.close()
        text = (tmp_path / "trace" / HOUR).read_text("ascii")
        assert text.startswith(f'\n{{"at":"{AT}","event":"refused","process":"worker:1",')
        (found,) = events(tmp_path / "trace" / HOUR)
        assert found == {
            "at": AT,
            "event": "refused",
            "process": "worker:1",
            **facts,
            "recipients": ["x@b.mssante.fr"],
        }

    def test_only_the_owner_reads_it(self, tmp_path: Path) -> None:
        written(tmp_path / "trace", {"session": SESSION})
        for path, mode in ((HOUR, 0o600), (HOUR.parent, 0o700), (Path(), 0o700)):
            assert (tmp_path / "trace" / path).stat().st_mode & 0o777 == mode

    def test_empty_facts_are_left_out_but_not_zero_and_false(self, tmp_path: Path) -> None:
        (found,) = written(tmp_path, {"a": "", "b": None, "c": [], "d": 0, "e": False, "f": 0.0})
        assert found == {"at": AT, "event": "refused", "d": 0, "e": False, "f": 0.0}

    def test_facts_cannot_pass_for_the_time_or_the_name(self, tmp_path: Path) -> None:
        (found,) = written(tmp_path, {"at": "never", "event": "accepted"})
        assert found == {"at": AT, "event": "refused"}

    def test_each_hour_of_utc_has_its_file_also_around_midnight(self, tmp_path: Path) -> None:
        paris = timezone(timedelta(hours=1))
        moments = [datetime(2026, 11, 23, 0, 59, 59, 999999, paris)]
        moments += [moments[0] + timedelta(microseconds=1), moments[0] + timedelta(hours=1)]
        ticking = iter(moments)
        journal = Journal(tmp_path, lambda: next(ticking))
        for number in range(3):
            journal.record("refused", number=number)
        journal.close()
        for number, (day, hour) in enumerate((("22", "23"), ("23", "00"), ("23", "00"))):
            found = events(tmp_path / f"2026-11-{day}" / f"{hour}.jsonl")
            assert number in [event["number"] for event in found]
            assert all(event["at"].startswith(f"2026-11-{day}T{hour}:") for event in found)

    @pytest.mark.integration
    def test_it_is_written_soon_without_being_closed(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path, lambda: NOW)
        for number in range(2):
            journal.record("refused", number=number)
            until_now((tmp_path / HOUR).exists)
            until_now(lambda: events(tmp_path / HOUR)[-1:] != [])
            (tmp_path / HOUR).unlink()  # as pruning does under a running process
        journal.close()
        journal.close()

    def test_after_the_end_nothing_is_written(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path, lambda: NOW)
        journal.close()
        journal.record("refused")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "facts",
        [
            {"detail": "x" * 1_000_000},
            {"detail": "\0" * 15_000},
            {"lines": [f"C: {number}" for number in range(100_000)]},
            {"lines": ["S: " + "y" * 100_000] * 50},
            {f"fact{number}": "z" * 1000 for number in range(1000)},
        ],
        ids=["text", "escaped", "lines", "long-lines", "many"],
    )
    def test_an_event_is_bounded(self, tmp_path: Path, facts: dict[str, Any]) -> None:
        (found,) = written(tmp_path, {"session": SESSION, **facts})
        assert (tmp_path / HOUR).stat().st_size <= MAX_LINE + 2
        assert (found["at"], found["event"], found["session"]) == (AT, "refused", SESSION)
        assert "cut]" in json.dumps(found, ensure_ascii=False)

    def test_a_long_transcript_keeps_its_beginning_and_its_end(self, tmp_path: Path) -> None:
        lines = [f"C: {number}" for number in range(10_000)]
        (found,) = written(tmp_path, {"lines": lines})
        kept = found["lines"]
        (mark,) = [number for number, line in enumerate(kept) if line.endswith("cut]")]
        assert mark > 100
        assert kept[:mark] == lines[:mark]
        assert kept[mark + 1 :] == lines[mark + 1 - len(kept) :]
        assert kept[mark] == f"…[{len(lines) - len(kept) + 1} cut]"


class TestNothingIsInTheWay:
    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(st.characters(codec=None))
            | st.lists(st.text(st.characters(codec=None)))
            | st.binary()
            | st.builds(object),
        )
    )
    def test_any_facts_make_one_line_of_text(self, facts: dict[str, Any]) -> None:
        line = _compose(AT, "refused", "", facts)
        assert line.index("\n") == len(line) - 1
        assert len(line) <= MAX_LINE + 1
        json.loads(line.encode("ascii"))["at"].encode("utf-8")
        json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")  # no lone surrogates

    def test_facts_that_cannot_be_written_are_counted(self, tmp_path: Path) -> None:
        endless: list[object] = []
        endless.append(endless)

        class Mute:
            def __str__(self) -> str:
                raise OSError("no")

        found = written(tmp_path, {"a": endless}, {"a": Mute()}, {"a": 1})
        assert [event["event"] for event in found] == ["journal.dropped", "refused"]
        assert found[0]["events"] == 2

    def test_a_clock_that_fails_costs_events_only(self, tmp_path: Path) -> None:
        def broken() -> datetime:
            raise OverflowError

        journal = Journal(tmp_path, broken)
        journal.record("refused")
        with capture_logs() as logs:
            journal.close()
        assert [entry["event"] for entry in logs] == ["journal.error"]

    @pytest.mark.integration
    def test_a_disk_that_hangs_costs_events_not_time_or_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / HOUR).parent.mkdir()
        os.mkfifo(tmp_path / HOUR)  # opening it to write waits for a reader
        monkeypatch.setattr(journal_module, "CLOSE_SECONDS", 0.01)
        journal = Journal(tmp_path, lambda: NOW)
        count, text = 2000, "x" * 10_000
        for number in range(count):
            journal.record("refused", number=number, text=text)
        assert journal._size <= MAX_PENDING
        dropped = journal.lost_events
        assert 0 < dropped < count
        journal.close()  # must not wait for ever either
        reader, octets = os.open(tmp_path / HOUR, os.O_RDWR), b""
        while octets.count(b'"number"') < count - dropped or not octets.endswith(b"\n"):
            octets += os.read(reader, 1_000_000)
        journal._writer.join()
        os.close(reader)
        found = [json.loads(line) for line in octets.split(b"\n") if line]
        gaps = [event["events"] for event in found if event["event"] == "journal.dropped"]
        numbers = [event["number"] for event in found if event["event"] == "refused"]
        assert gaps == [dropped]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) + dropped == count

    @pytest.mark.integration
    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        folder = tmp_path / "trace"
        folder.write_bytes(b"in the way")
        journal = Journal(folder, lambda: NOW)
        with capture_logs() as logs:
            for _ in range(2):
                journal.record("refused", number=1)
                before = len(logs)
                until_now(lambda: not journal._pending)
            until_now(lambda: journal.lost_events == 2)
            assert before <= 1
            folder.unlink()
            for number in (3, 4):
                journal.record("refused", number=number)
                until_now(lambda: not journal._pending)
            journal.close()
        assert [entry["event"] for entry in logs] == ["journal.unwritable", "journal.writable"]
        gap, *found = events(folder / HOUR)  # reported once
        assert (gap["event"], gap["events"]) == ("journal.dropped", 2)
        assert [event["number"] for event in found] == [3, 4]


@pytest.mark.integration
def test_processes_share_a_file_without_tearing_a_line(tmp_path: Path) -> None:
    script = (
        "sys.stdin.readline()\n"
        "for number in range(20_000):\n"
        "    journal.record('refused', number=number, who=sys.argv[2], text='x' * (number % 400))\n"
        "journal.close()\n"
    )
    with (
        child(script, tmp_path, "a") as a,
        child(script, tmp_path, "b") as b,
        child(script, tmp_path, "c") as c,
    ):
        for process in (a, b, c):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in (a, b, c)] == [0, 0, 0]
    found = events(tmp_path / HOUR)
    for who in "abc":
        numbers = [event["number"] for event in found if event["who"] == who]
        assert numbers == list(range(20_000))
    assert all(event["text"] == "x" * (event["number"] % 400) for event in found if "text" in event)
    switches = sum(one["who"] != other["who"] for one, other in pairwise(found))
    assert switches > 2  # both wrote at the same time


@pytest.mark.integration
def test_a_killed_process_loses_only_what_was_not_written(tmp_path: Path) -> None:
    script = (
        "number = 0\n"
        "while True:\n"
        "    journal.record('refused', number=number, text='x' * 500)\n"
        "    number += 1\n"
        "    if number == 1000: sys.stdin.readline()\n"
    )

    def size() -> int:
        path = tmp_path / HOUR
        return path.stat().st_size if path.exists() else 0

    with child(script, tmp_path) as process:
        until_now(lambda: size() > 500_000)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        until_now(lambda: size() > 2_000_000)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    journal = Journal(tmp_path, lambda: NOW)
    journal.record("accepted")
    journal.close()
    lines = [line for line in (tmp_path / HOUR).read_bytes().split(b"\n") if line]
    assert json.loads(lines[-1])["event"] == "accepted"
    whole = lines[:-1] if lines[-2].endswith(b"}") else lines[:-2]
    numbers = [json.loads(line)["number"] for line in whole if b"accepted" not in line]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 3000


def test_a_line_torn_by_another_process_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / HOUR).parent.mkdir()
    (tmp_path / HOUR).write_bytes(b'{"at":"2026-11-22T10:1')
    journal = Journal(tmp_path, lambda: NOW)
    journal.record("refused", number=1)
    journal.close()
    torn, line = (tmp_path / HOUR).read_bytes().split(b"\n")[:2]
    assert torn == b'{"at":"2026-11-22T10:1'
    assert json.loads(line)["number"] == 1


@pytest.mark.integration
def test_a_full_disk_costs_events_that_are_counted(tmp_path: Path) -> None:
    # The kernel refuses to grow a process's file beyond a size like a full disk: a short write,
    # then an error.
    script = (
        "import resource, structlog\n"
        "structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stdout),\n"
        "    processors=[structlog.processors.JSONRenderer()])\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))\n"
        "for number in range(3000):\n"
        "    journal.record('refused', number=number, text='x' * 300)\n"
        "while journal._pending or journal._began or not journal.lost_events: pass\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "journal.record('refused', number=3000)\n"
        "journal.close()\n"
    )
    with child(script, tmp_path) as process:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    logged = [json.loads(line)["event"] for line in output.splitlines()]
    assert logged == ["journal.unwritable", "journal.writable"]
    found, torn = [], 0
    for line in filter(None, (tmp_path / HOUR).read_bytes().split(b"\n")):
        try:
            found.append(json.loads(line))
        except ValueError:
            torn += 1
    assert torn <= 1
    (gap,) = [event for event in found if event["event"] == "journal.dropped"]
    numbers = [event["number"] for event in found if event["event"] == "refused"]
    assert numbers == [*range(len(numbers) - 1), 3000]
    assert len(numbers) > 200
    assert len(numbers) + gap["events"] == 3001


@given(st.lists(st.text("ab", max_size=5), min_size=1, max_size=8), st.data())
def test_short_writes_lose_and_double_no_line(texts: list[str], data: st.DataObject) -> None:
    lines = [f"{{{text}}}".encode() for text in texts]
    rest, disk, written_short = b"\n" + b"\n".join(lines) + b"\n", b"", 0
    while rest:
        enough = written_short < 20
        done = data.draw(st.integers(1, len(rest))) if enough else len(rest)
        disk += rest[:done]
        rest = _left(rest, done)
        assert not rest or rest.startswith(b"\n")
        written_short += 1
    found = [line for line in disk.split(b"\n") if line.startswith(b"{") and line.endswith(b"}")]
    assert found == lines
