"""kill -9 during reception: each acknowledged message is there, complete and once.

This is the promise of acceptance (`250` only after the commit), seen from outside; the promise of
the queue is in test_crash_delivery.py.  `make crash` kills far more often.  Pages of a killed
process stay in the kernel: test_power.py tests the syncs.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash import kills
from tests.crash.campaign import lines
from tests.crash.kills import Row
from tests.crash.site import postgres, site

# Many processes, beside other tests.
pytestmark = pytest.mark.timeout(300)


def assert_nothing_lost(rows: Sequence[Row]) -> None:
    for row in rows:
        assert not row.verdict.problems, "\n".join(lines([row]))
        assert row.verdict.found == row.verdict.acknowledged
    assert sum(row.verdict.acknowledged for row in rows) > 0


def test_a_daemon_of_which_nothing_is_left_can_be_killed(tmp_path: Path) -> None:
    # As where each process is reaped at once: in a PID namespace, with SIGCHLD ignored.
    with site(tmp_path / "a", "short") as here:
        here.start()
        process = here.daemon.process
        assert process is not None
        assert process.stdout is not None
        process.terminate()
        process.wait(30)
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
        here.daemon.kill()
        assert process.stdout.closed
        assert here.daemon.process is None


def test_what_was_acknowledged_survives_kills_of_the_daemon_and_of_workers(tmp_path: Path) -> None:
    # RFC 5321 §6.1: after the 250, the message is ours to keep.
    with site(tmp_path / "a", "short") as here:
        rows = [
            kills.worker_at_random(here, 2),
            kills.worker_at_step(here, "blobs.placing", 2),
            kills.worker_at_step(here, "answer.due", 2),
            kills.daemon_at_random(here, 1),
            kills.daemon_at_step(here, "rows.committed", 1),
        ]
        assert_nothing_lost(rows)
        assert sum(row.kills for row in rows) >= 8
        assert here.leave() == []


def test_what_was_acknowledged_survives_kills_of_the_database(tmp_path: Path) -> None:
    with postgres() as database, site(tmp_path / "a", "short", database=database.url) as here:
        random_one = kills.postgres_at_random(here, database, 1)
        assert_nothing_lost(
            [random_one, kills.postgres_at_step(here, database, "rows.inserted", 1)]
        )
        assert here.ledger.refusals.keys() <= kills.TEMPORARY
        assert here.leave() == []
