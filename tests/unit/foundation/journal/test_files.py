"""The place of traces, and pruning: only old traces are removed (DOMAIN §9.60)."""

from datetime import UTC, date, datetime
from pathlib import Path

from foundation.journal.files import HourFile, PruneResult, hour_file, hours, prune


def lay(folder: Path, *names: str) -> None:
    """Make files with their folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}\n")


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_file_of_an_hour(tmp_path: Path) -> None:
    found = hour_file(tmp_path, "2026-11-23T14:59:59.999+00:00")
    assert found == tmp_path / "2026-11-23" / "14.jsonl"
    assert hour_file(tmp_path, "2026-11-23T14") == found


def test_hours_in_order_and_only_those_of_its_naming(tmp_path: Path) -> None:
    lay(tmp_path, "2026-11-23/00.jsonl", "2026-11-22/23.jsonl", "2026-11-22/09.jsonl")
    lay(tmp_path, "2026-11-22/24.jsonl", "2026-11-22/1.jsonl", "2026-11-22/10.jsonl.gz")
    lay(tmp_path, "2026-02-30/10.jsonl", "2026-11-2x/10.jsonl", "notes/10.jsonl", "2026-11-24")
    lay(tmp_path, "２026-11-22/10.jsonl", "elsewhere")
    (tmp_path / "2026-11-22" / "11.jsonl").mkdir()
    assert hours(tmp_path) == [
        HourFile(datetime(2026, 11, 22, 9, tzinfo=UTC), tmp_path / "2026-11-22" / "09.jsonl"),
        HourFile(datetime(2026, 11, 22, 23, tzinfo=UTC), tmp_path / "2026-11-22" / "23.jsonl"),
        HourFile(datetime(2026, 11, 23, 0, tzinfo=UTC), tmp_path / "2026-11-23" / "00.jsonl"),
    ]


def test_without_a_journal_there_is_none(tmp_path: Path) -> None:
    assert hours(tmp_path / "none") == []
    assert prune(tmp_path / "none", date(2026, 11, 22)) == PruneResult(0, ())


def test_days_before_the_oldest_go(tmp_path: Path) -> None:
    lay(tmp_path, "2025-12-31/23.jsonl", "2026-11-20/00.jsonl", "2026-11-20/23.jsonl")
    (tmp_path / "2026-11-19").mkdir()
    lay(tmp_path, "2026-11-21/00.jsonl", "2026-11-22/00.jsonl", "2027-01-01/00.jsonl")
    assert prune(tmp_path, date(2026, 11, 21)) == PruneResult(3, ())
    assert [str(hour.path.relative_to(tmp_path)) for hour in hours(tmp_path)] == [
        "2026-11-21/00.jsonl",
        "2026-11-22/00.jsonl",
        "2027-01-01/00.jsonl",
    ]
    assert prune(tmp_path, date(2026, 11, 21)) == PruneResult(0, ())


def test_nothing_else_goes(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    lay(outside, "2020-01-01/00.jsonl", "00.jsonl")
    trace = tmp_path / "trace"
    lay(trace, "2020-01-02/00.jsonl", "2020-01-02/evidence.txt", "2020-01-02/1.jsonl")
    lay(trace, "2020-01-04", "2020-1-5/00.jsonl", "2020-01-06.old/00.jsonl", "readme")
    (trace / "2020-01-07").symlink_to(outside / "2020-01-01", target_is_directory=True)
    (trace / "2020-01-08").mkdir()
    (trace / "2020-01-08" / "00.jsonl").symlink_to(outside / "00.jsonl")
    before = tree(outside)
    pruned = prune(trace, date(2026, 1, 1))
    assert pruned.days == 0
    assert [problem.rpartition("/")[2] for problem in pruned.problems] == [
        "2020-01-02'",
        "2020-01-08'",
    ]
    assert tree(outside) == before
    assert tree(trace) == sorted(
        [
            "2020-01-02",
            "2020-01-02/1.jsonl",
            "2020-01-02/evidence.txt",
            "2020-01-04",
            "2020-01-06.old",
            "2020-01-06.old/00.jsonl",
            "2020-01-07",
            "2020-01-08",
            "2020-01-08/00.jsonl",
            "2020-1-5",
            "2020-1-5/00.jsonl",
            "readme",
        ]
    )


def test_a_day_that_cannot_be_removed_keeps_no_other(tmp_path: Path) -> None:
    lay(tmp_path, "2020-01-01/00.jsonl", "2020-01-01/note", "2020-01-02/00.jsonl")
    pruned = prune(tmp_path, date(2026, 1, 1))
    assert (pruned.days, len(pruned.problems)) == (1, 1)
    assert "not empty" in pruned.problems[0]
    assert tree(tmp_path) == ["2020-01-01", "2020-01-01/note"]
