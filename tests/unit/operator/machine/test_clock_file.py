"""State of the clock watch: kept for later processes until the machine reboots."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from foundation.clock_watch import ClockMemory, Jump
from mssante_operator.machine.clock_file import ClockFile
from mssante_operator.machine.run_directory import RunFolder
from tests.support.clock import NOW

BOOT = "9f2c"
JUMPS = ((0.25, Jump(NOW, timedelta(days=60))), (0.5, Jump(NOW, -timedelta(seconds=10.5))))
MEMORY = ClockMemory(began=0.125, running=0.5, wall=NOW, jumps=JUMPS)


def test_what_was_kept_is_read_until_the_machine_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    assert ClockFile(path, BOOT).read() is None
    ClockFile(path, BOOT).keep(MEMORY)
    assert ClockFile(path, BOOT).read() == MEMORY
    assert ClockFile(path, "another").read() is None
    ClockFile(path, "").keep(MEMORY)
    assert ClockFile(path, "").read() is None  # a system without a boot identifier
    ClockFile(path, BOOT).keep(ClockMemory(0.125, 1e12, NOW))
    assert ClockFile(path, BOOT).read() is None


def test_a_new_daemon_leaves_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ClockFile(folder.clock, BOOT).keep(MEMORY)
    folder.clear()
    assert ClockFile(folder.clock, BOOT).read() == MEMORY


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        {"boot": None, "began": None},
        {"wall": "2026-11-22T10:11:13"},
        {"wall": 3},
        {"jumps": [{}]},
        {"jumps": [{"seen": 0, "to": NOW.isoformat(), "by": 1e300}]},
    ],
)
def test_a_damaged_one_is_told_of_and_counts_as_none(
    tmp_path: Path, damage: str | dict[str, Any]
) -> None:
    path = tmp_path / "clock"
    ClockFile(path, BOOT).keep(MEMORY)
    if isinstance(damage, dict):
        damage = json.dumps(json.loads(path.read_text()) | damage)
    path.write_text(damage)
    with capture_logs() as logs:
        assert ClockFile(path, BOOT).read() is None
    assert [one["event"] for one in logs] == ["clock.unread"]


def test_a_disk_that_takes_nothing_is_told_of_once(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.mkdir()
    file = ClockFile(path, BOOT)
    with capture_logs() as logs:
        file.keep(MEMORY)
        file.keep(MEMORY)
        path.rmdir()
        file.keep(MEMORY)
    assert [one["event"] for one in logs] == ["clock.unkept"]
    assert file.read() == MEMORY
