"""Pair of PostgreSQL servers: fail-over, lag and waits, with each build present."""

import threading

import psycopg
import pytest

from tests.support.db.postgresql import Build, builds
from tests.support.db.replicas import Pair, replicating
from tests.support.waiting import until_now


def numbers(pair: Pair, name: str) -> list[int]:
    return [row[0] for row in pair.primary.ask("SELECT n FROM t ORDER BY n", database=name)]


@pytest.mark.parametrize("build", builds(), ids=lambda build: build.name)
def test_it_loses_its_lag_unless_it_is_synchronous(build: Build) -> None:
    with replicating(build) as pair:
        name = pair.database()
        pair.primary.ask("CREATE TABLE t (n int)", database=name)
        pair.primary.ask("INSERT INTO t VALUES (1)", database=name)
        pair.caught_up()
        pair.lag()
        pair.primary.ask("INSERT INTO t VALUES (2)", database=name)
        assert numbers(pair, name) == [1, 2]
        pair.fail_over()
        assert numbers(pair, name) == [1]
        pair.renew()

        pair.wait_for_standby(on=True)
        pair.lag()
        waiting = threading.Thread(
            target=lambda: pair.primary.ask("INSERT INTO t VALUES (3)", database=name)
        )
        waiting.start()
        held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until_now(lambda: pair.primary.ask(held) == [(1,)])
        pair.caught_up()
        waiting.join()
        pair.primary.kill()
        pair.fail_over()
        assert numbers(pair, name) == [1, 3]
        pair.renew()
        pair.primary.freeze()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(pair.primary.url(name), connect_timeout=2)
        pair.primary.melt()
        pair.caught_up()
