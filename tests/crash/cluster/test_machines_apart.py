"""Two machines that disagree: a clock ahead, a copied folder, an older white list, a lost body.

In each case mail in flight is not sent twice, and nothing is refused for good.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Row, select

from mailstore.s3.bucket import Bucket
from relay.queue.schema import deliveries
from tests.crash.field import Field, Machine, two_machines
from tests.crash.site import environment
from tests.support.db.replicas import Pair
from tests.support.faults import library, missing
from tests.support.lists.list_files import FULL, alarms, put, signed
from tests.support.machines.daemon import Daemon, free_endpoint
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

pytestmark = pytest.mark.timeout(300)  # many processes, beside other tests

AHEAD = 30 * 60  # seconds: as long as a lease
LETTER = "From: claire.martin@a.mssante.fr\nSubject: x\n\nBonjour\n"


@pytest.fixture(scope="module")
def kept_field(
    tmp_path_factory: pytest.TempPathFactory, kept_pair: Pair, object_server: ObjectServer
) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("apart")
    with two_machines(folder, "apart", kept_pair, object_server) as made:
        yield made


@pytest.fixture
def field(kept_field: Field) -> Iterator[Field]:
    """Two machines, not started; running machines are killed at the end."""
    yield kept_field
    kept_field.release()
    kept_field.end()
    kept_field.forget()


def under_way(field: Field) -> int:
    """Start attempts on machine one that wait for a reply; returns their number."""
    before = len(field.box.posted)
    field.machines[0].daemon.start()
    field.hold()
    field.box.post(3)
    count = sum(len(posted.recipients) for posted in field.box.posted[before:])
    until_now(lambda: field.held == count)
    return count


def nothing_twice(field: Field, count: int) -> None:
    time.sleep(1.0)  # a plain wait: nothing must happen, and couriers look 5 times a second
    assert field.held == count
    field.release()
    verdict = field.judge()
    assert verdict.problems == []
    assert (verdict.lost, verdict.doubled) == (0, 0)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_machine_half_an_hour_ahead_sends_nothing_that_is_in_flight(field: Field) -> None:
    count = under_way(field)
    two = field.machines[1].daemon
    with environment(LD_PRELOAD=str(library("clock")), CLOCK_SHIFT=str(AHEAD)):
        two.start()
    until_now(lambda: "clock.apart" in two.log())
    nothing_twice(field, count)


def test_a_copy_of_a_machine_s_folder_frees_none_of_its_leases(
    field: Field, tmp_path: Path
) -> None:
    count = under_way(field)
    one = field.machines[0].daemon
    shutil.copytree(one.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("run"))
    config = tmp_path / "copy" / one.config.name
    ours = Daemon(config, free_endpoint(), free_endpoint())
    text = config.read_text().replace(one.endpoint, ours.endpoint)
    config.write_text(text.replace(one.admin, ours.admin))
    (config.parent / "serve.log").write_text("")
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(ours.start)
        try:
            # The copy works, is refused, or waits until the first machine is gone.
            with suppress(TimeoutError):
                until_now(lambda: "courier.started" in ours.log() or refused(started), 20)
            nothing_twice(field, count)
        finally:
            if ours.process is not None:
                ours.kill()
    assert field.machines[0].lives


def refused(started: Future[None]) -> bool:
    return started.done() and started.exception() is not None


def test_a_list_that_one_machine_has_adopted_is_believed_by_the_other(field: Field) -> None:
    one, two = (machine.daemon for machine in field.machines)
    peer = field.box.receivers[1].endpoint
    for daemon in (one, two):
        text = daemon.config.read_text()
        peer = field.box.receivers[1].endpoint
        text = text.replace(
            "[outbound.routes]\n", f'[outbound.routes]\n"d.mssante.fr" = "{peer}"\n'
        )
        daemon.config.write_text(
            text.replace("[whitelist]\n", "[whitelist]\nrefresh_seconds = 1\n")
        )
    field.start()
    newer = signed(1, **FULL, d="c")
    put(one, newer)
    until_now(lambda: _has_shared(one, newer))
    one.stop()  # from here on machine two acts
    said = []
    for daemon, times in ((one, 3), (two, 3)):
        file = daemon.folder / "letter.eml"
        file.write_text(LETTER)
        words = ("message", "send", str(file), "--from", "claire.martin@a.mssante.fr")
        said += [daemon.run(*words, "--to", "dr.0@d.mssante.fr") for _ in range(times)]
    keys = [line.split()[2].rstrip(":") for line in said]
    assert states(field, keys, "failed") == []
    until_now(lambda: states(field, keys) == [])
    copies = field.box.copies()
    assert [copies[key, "c.mssante.fr"] for key in keys] == [1] * 6


def _has_shared(daemon: Daemon, data: bytes) -> bool:
    """Whether the daemon has shared this list; the list of its start is shared too."""
    digest = hashlib.sha256(data).hexdigest()
    return any("whitelist.shared" in line and digest in line for line in daemon.log().splitlines())


def states(field: Field, keys: Sequence[str], state: str = "") -> list[Row[tuple[str, str, str]]]:
    """Deliveries of these messages that are still queued."""
    d = deliveries.c
    query = select(d.state, d.held, d.last_error).where(d.message_id.in_(keys))
    with field.box.daemon.store() as store, store.database.read() as connection:
        return list(connection.execute(query.where(d.state == state) if state else query))


def test_a_body_that_is_gone_from_the_bucket_ends_its_delivery(field: Field) -> None:
    one: Machine = field.machines[0]
    bucket = Bucket(field.place)
    before = {found.key for found in bucket.list()}
    field.box.post_once(200_000)
    posted = field.box.posted.pop()
    for key in {found.key for found in bucket.list()} - before:
        bucket.delete(key)
    one.daemon.start()
    with field.load(one):
        field.acknowledgements(2, one)  # the other messages are not delayed

    def ended() -> bool:
        rows = states(field, [posted.id])
        return bool(rows) and all(row.state == "failed" or row.held for row in rows)

    until_now(ended)
    assert all("bod" in f"{row.held} {row.last_error}" for row in states(field, [posted.id]))
    until_now(lambda: bool(alarms(one.daemon)))
