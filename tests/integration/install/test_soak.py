"""Short form of `make soak`; its judge must detect leftovers."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.soak import Footprint, Plan, Run, judge, raise_limits, soak
from tests.support.machines.daemon import lay_out, served

# Few at once, so that malloc's arenas reach their final size after a short warm-up.
SHORT = Plan(
    handshakes=200, messages=200, idle=100, at_once=8, warm_up=1.0, max_growth=12.0, settle=0.0
)


def test_abuse_leaves_memory_and_open_files_where_they_were(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    raise_limits(daemon, 200)
    runs: list[Run] = []
    with served(daemon):
        assert soak(daemon, SHORT, runs.append) == []
    log = daemon.log()
    assert "session.error" not in log
    assert "Traceback" not in log
    assert len(runs) == 9
    # All cases took place: messages on disk, connections all at once.
    assert max(run.drafts_peak for run in runs) > 0
    assert max(run.files_peak for run in runs) >= SHORT.idle


WELL = Run("phase", "warm-up", 1.0, (Footprint("worker", 90.0, 60.0, 25),), message_passed=True)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"drafts_left": 1}, "1 temporary files left"),
        ({"message_passed": False}, "no message goes through"),
        ({"processes": (Footprint("worker", 90.0, 60.0, 26),)}, "26 files open, had 25"),
        ({"processes": (Footprint("worker", 99.0, 65.0, 25),)}, "grew from 60.0 to 65.0 MB"),
    ],
    ids=["drafts", "message", "files", "memory"],
)
def test_the_judge_sees_what_is_left(change: dict[str, object], complaint: str) -> None:
    assert judge([WELL, WELL, WELL], 4.0) == []
    (fault,) = judge([WELL, WELL, replace(WELL, **change)], 4.0)  # type: ignore[arg-type]
    assert complaint in fault
