"""Two machines whose PostgreSQL or S3 fails: cut, frozen, vanished, slow, corrupt.

Nothing needs a restart, no daemon ends, and each acknowledged message is there once.
`make crash ARGS="--only outages"` does it at length.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.crash.campaign import lines
from tests.crash.field import Field, Machine, two_machines
from tests.crash.kills import Row
from tests.crash.machines import ROLES
from tests.support.db.replicas import Pair
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

pytestmark = pytest.mark.timeout(300)  # many processes, beside other tests

NOTICED = 45.0  # seconds until `/readyz` must report the loss of the database
HEALED = 45.0  # seconds until it must be ready again


@pytest.fixture(scope="module")
def kept_field(
    tmp_path_factory: pytest.TempPathFactory, kept_pair: Pair, object_server: ObjectServer
) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("outages")
    with two_machines(folder, "outages", kept_pair, object_server) as made:
        made.start()
        yield made


@pytest.fixture
def field(kept_field: Field) -> Iterator[Field]:
    """Two running machines, with working proxies."""
    for one in kept_field.machines:
        if not one.lives:
            kept_field.restart(one)
        until_now(lambda here=one: here.ready == 200, HEALED)  # type: ignore[misc]
    yield kept_field
    kept_field.mend()


def balanced(field: Field) -> None:
    verdict = field.judge()
    assert not verdict.problems, "\n".join(lines([Row("an outage", "", 1, verdict)]))
    assert (verdict.lost, verdict.lagged) == (0, 0)


FAULTS: dict[str, Callable[[Machine], None]] = {
    "database cut": lambda one: one.database.cut(),
    "bucket frozen": lambda one: one.bucket.freeze(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_processes_that_die_while_something_is_away_come_back_with_it(
    field: Field, fault: str
) -> None:
    one, two = field.machines
    with field.load():
        field.box.post(6)
        field.acknowledgements(1)
        FAULTS[fault](one)
        dead = field.kill(one, *ROLES)
        # The processes are replaced after a second, and then find no server.
        until_now(lambda: not one.lives or bool(one.daemon.processes() - dead))
        if fault == "database cut":
            before = one.database.taken
            until_now(lambda: not one.lives or one.database.taken >= before + len(ROLES))
        time.sleep(1.5)  # what is awaited is that nothing happens
        assert one.lives, one.daemon.log()[-2000:]
        field.acknowledgements(1, two)
        field.mend()
        until_now(lambda: not one.lives or one.ready == 200, HEALED)
        assert one.lives, one.daemon.log()[-2000:]
        field.acknowledgements(1)
    balanced(field)


def test_a_database_that_is_gone_without_a_word(field: Field) -> None:
    one, two = field.machines
    with field.load(two):
        field.acknowledgements(1, two)
        field.box.post(4)
        one.database.vanish()
        until_now(lambda: one.ready == 503, NOTICED)
        field.acknowledgements(1, two)
    assert two.ready == 200
    field.mend()
    until_now(lambda: one.ready == 200, HEALED)
    with field.load():
        field.acknowledgements(1)
    balanced(field)


def test_a_daemon_ends_and_begins_while_the_database_is_gone(field: Field) -> None:
    one = field.machines[0]
    with field.load(one):
        field.acknowledgements(1, one)
        field.box.post(6)
        one.database.vanish()
        begun = time.monotonic()
        field.terminate(one)
        # process.stop_seconds is 5 here; this machine may be busy.
        assert time.monotonic() - begun < 20
    with field.starting(one) as started:
        time.sleep(3.0)  # what is awaited is that nothing happens
        assert one.lives, one.daemon.log()[-2000:]
        field.mend()
        started.result()
    until_now(lambda: one.ready == 200, HEALED)
    with field.load(one):
        field.acknowledgements(1, one)
    balanced(field)


def test_commits_that_hang_hold_up_nobody_for_good(field: Field) -> None:
    # As when the disk of the database hangs: it answers, but no commit ends.
    one, two = field.machines
    with field.load():
        field.acknowledgements(1)
        field.box.post(4)
        field.hang_commits()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until_now(lambda: bool(field.pair.primary.ask(waits)))
        begun = time.monotonic()
        field.terminate(one)
        assert time.monotonic() - begun < 20
        assert two.lives
        field.mend()
        field.acknowledgements(1, two)
    field.restart(one)
    balanced(field)


def test_slow_ways_and_corrupt_answers_of_the_bucket_spoil_nothing(field: Field) -> None:
    one, two = field.machines
    one.database.slow(latency=0.01)
    one.bucket.corrupt(997)
    two.bucket.slow(latency=0.05, rate=2_000_000)
    with field.load():
        field.box.post(6)
        field.acknowledgements(2, two)
        field.mend()
        until_now(lambda: one.ready == 200, HEALED)
        field.acknowledgements(1)
    balanced(field)
