"""kill -9 during delivery: no queued message is lost; a message is sent twice only in one window.

`make crash` kills far more often (`ARGS="--only delivery"`), at every step of delivery.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from foundation.failpoints import DELIVERY_STEPS
from tests.crash import couriers
from tests.crash.campaign import lines
from tests.crash.kills import Row
from tests.crash.site import postgres
from tests.support.storage.object_server import ObjectServer

# Many processes, beside other tests.
pytestmark = pytest.mark.timeout(300)


def assert_all_arrived(rows: Sequence[Row]) -> None:
    for row in rows:
        assert not row.verdict.problems, "\n".join(lines([row]))
        assert row.verdict.found == row.verdict.acknowledged > 0


def test_every_step_is_named_once() -> None:
    assert set(couriers.WINDOW) < set(DELIVERY_STEPS)
    assert len(set(DELIVERY_STEPS)) == len(DELIVERY_STEPS)


def test_a_killed_courier_or_daemon_doubles_only_what_was_under_way(tmp_path: Path) -> None:
    # RFC 5321 §6.1: nothing is lost; docs/durability.md lists messages that may arrive twice.
    with couriers.sender(tmp_path, "short") as box:
        rows = [couriers.courier_at_random(box, 3), couriers.daemon_at_random(box, 1)]
        assert_all_arrived(rows)


def test_the_window_is_between_the_answer_of_the_peer_and_our_commit(tmp_path: Path) -> None:
    with couriers.sender(tmp_path, "short", concurrency=1) as box:
        before = couriers.courier_at_step(box, "delivery.half", 2)
        within = couriers.courier_at_step(box, "delivery.answered", 2)
        after = couriers.daemon_at_step(box, "delivery.committed", 1)
        assert_all_arrived([before, within, after])
        assert [row.verdict.doubled for row in (before, within, after)] == [0, 2, 0]


def test_with_the_database_lost_and_back_nothing_is_doubled(tmp_path: Path) -> None:
    with postgres() as database, couriers.sender(tmp_path, "short", database) as box:
        rows = [
            couriers.postgres_at_random(box, database, 1),
            couriers.postgres_at_step(box, database, "delivery.settled", 1),
        ]
        assert_all_arrived(rows)
        assert sum(row.verdict.doubled for row in rows) == 0


def test_of_two_machines_one_takes_over_what_the_other_left(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    with (
        postgres() as database,
        couriers.senders(tmp_path, "short", database, object_server) as (box, other),
    ):
        assert_all_arrived([couriers.one_machine_of_two(box, other, 1)])
