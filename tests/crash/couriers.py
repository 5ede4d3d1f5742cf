"""SIGKILL to delivery: the courier, its daemon, one of two machines, the database below.

Each function kills a number of times, at random or at a named step of delivery
(`foundation.failpoints`), has the rest delivered, and returns a row of the table.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import update

from foundation import failpoints
from mailstore.blobs.store import Store
from mssante_operator.assembly.database import migrations
from relay.queue.schema import deliveries
from tests.crash.kills import JITTER, RANDOM, Row
from tests.crash.outbox import Outbox, leases, outbox, waiting
from tests.crash.receiver import Receiver, receiver
from tests.crash.site import PATIENCE, Postgres, environment, move
from tests.support.clock import system_clock
from tests.support.machines.cluster import lay_out_machines
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.machines.processes import state_of
from tests.support.storage.object_server import ObjectServer
from tests.support.waiting import until_now

BATCH: Final = 12  # messages queued for a kill

# Steps between the peer's `250` and our commit: if deliveries are made one at a time, only a kill
# here may send a message twice.
WINDOW: Final = (
    "delivery.sent",
    "delivery.answered",
    "delivery.settling",
    "delivery.reported",
    "delivery.settled",
)


def _begin(daemon: Daemon, crash_at: str = "") -> None:
    with environment(**({failpoints.VARIABLE: crash_at} if crash_at else {})):
        daemon.start()


def _end(daemon: Daemon) -> None:
    if daemon.process is not None:
        daemon.kill()


def _any_moment(box: Outbox) -> None:
    box.arrivals(box.chance.randrange(BATCH))
    time.sleep(box.chance.uniform(0, JITTER))  # the kill may fall at any moment


def _leave(box: Outbox, row: Row) -> Row:
    """Deliver the rest by a daemon without kills; return the result."""
    if box.daemon.process is None:
        _begin(box.daemon)
    box.drained()
    box.daemon.stop()
    row.verdict.add(box.judge())
    return row


def courier_at_random(box: Outbox, kills: int) -> Row:
    """Kill the courier alone; the supervisor replaces it."""
    row = Row("courier", RANDOM)
    _begin(box.daemon)
    for _ in range(kills):
        box.post(BATCH)
        _any_moment(box)
        (courier,) = _couriers(box.daemon)
        os.kill(courier, signal.SIGKILL)
        _is_replaced(box, courier)
        row.kills += 1
    return _leave(box, row)


def courier_at_step(box: Outbox, step: str, kills: int) -> Row:
    """Kill each courier at the step, a number of times; it makes one delivery at a time."""
    row = Row("courier", step)
    _begin(box.daemon, f"{step}:{_times(box, step)}")
    while row.kills < kills:
        (courier,) = _couriers(box.daemon)
        box.post(BATCH)
        _is_replaced(box, courier)
        row.kills += 1
    _end(box.daemon)
    box.killed()
    return _within_the_window(_leave(box, row))


def _times(box: Outbox, step: str) -> int:
    """Number of passes of the step before the kill: some steps are rare."""
    once = {"delivery.secured", "delivery.greeted"}  # per connection; connections are reused
    return 1 if step in once else box.chance.randrange(1, 3 if step == "delivery.reported" else 6)


def _couriers(daemon: Daemon) -> set[int]:
    """The courier, once it runs."""
    until_now(lambda: len(daemon.processes("courier")) == 1, PATIENCE)
    return daemon.processes("courier")


def _is_replaced(box: Outbox, courier: int) -> None:
    """Note the state after the kill, before the successor, which starts a second later, acts."""
    until_now(lambda: not state_of(courier), PATIENCE)
    box.killed()


def daemon_at_random(box: Outbox, kills: int) -> Row:
    """Kill all processes at once, repeatedly."""
    row = Row("daemon, sending", RANDOM)
    for _ in range(kills):
        box.post(BATCH)
        _begin(box.daemon)
        _any_moment(box)
        _end(box.daemon)
        box.killed()
        row.kills += 1
    return _leave(box, row)


def daemon_at_step(box: Outbox, step: str, kills: int) -> Row:
    """Kill all processes at once when the courier reaches the step; one delivery at a time."""
    row = Row("daemon, sending", step)
    for _ in range(kills):
        box.post(BATCH)
        with suppress(AssertionError):  # it may die before it reports that it listens
            _begin(box.daemon, f"daemon@{step}:{_times(box, step)}")
        assert box.daemon.process is not None
        supervisor = box.daemon.process.pid
        until_now(lambda one=supervisor: state_of(one) == "Z", PATIENCE)  # type: ignore[misc]
        _end(box.daemon)
        box.killed()
        row.kills += 1
    return _within_the_window(_leave(box, row))


def _within_the_window(row: Row) -> Row:
    """No message may be doubled by kills at other steps."""
    if row.step not in WINDOW and row.verdict.doubled:
        row.verdict.problems.append(f"{row.verdict.doubled} doubled without need")
    return row


def postgres_at_random(box: Outbox, database: Postgres, kills: int) -> Row:
    """Kill all processes of the database; the courier continues and sends nothing twice."""
    row = Row("PostgreSQL, sending", RANDOM)
    _begin(box.daemon)
    for _ in range(kills):
        box.post(BATCH)
        _any_moment(box)
        database.kill()
        time.sleep(box.chance.uniform(0, JITTER))  # peers may have answered or not
        database.restart()
        row.kills += 1
    return _within_the_window(_leave(box, row))


def postgres_at_step(box: Outbox, database: Postgres, step: str, kills: int) -> Row:
    """Kill all processes of the database while the courier is at the step."""
    row = Row("PostgreSQL, sending", step)
    _begin(box.daemon, f"stop@{step}:{_times(box, step)}")
    for _ in range(kills):
        box.post(BATCH)
        until_now(lambda: bool(_stopped(box.daemon)), PATIENCE)
        database.kill()
        _go_on(box.daemon)
        database.restart()
        row.kills += 1
    with box.daemon.store() as store:
        until_now(lambda: _keep_going(box.daemon, store), PATIENCE)
    return _leave(box, row)


def _stopped(daemon: Daemon) -> list[int]:
    return [one for one in daemon.processes("courier") if state_of(one) == "T"]


def _keep_going(daemon: Daemon, store: Store) -> bool:
    """Continue a courier that stopped; True if no mail waits any more."""
    _go_on(daemon)
    return not waiting(store)


def _go_on(daemon: Daemon) -> None:
    for one in _stopped(daemon):
        os.kill(one, signal.SIGCONT)


def one_machine_of_two(box: Outbox, other: Daemon, kills: int) -> Row:
    """Kill one machine during its deliveries; the other takes them after the leases expire."""
    row = Row("one machine of two", RANDOM)
    pair = [box.daemon, other]
    for one in pair:
        _begin(one)
    for _ in range(kills):
        box.post(2 * BATCH)
        _any_moment(box)
        victim = box.chance.choice(pair)
        _end(victim)
        box.killed()
        row.kills += 1
        _let_time_pass(box, victim)
        box.drained()
        with box.daemon.store() as store:
            row.verdict.problems += leases(store)
        _begin(victim)
    other.stop()
    return _leave(box, row)


def _let_time_pass(box: Outbox, victim: Daemon) -> None:
    """Half an hour, in which the leases of the dead expire and their deliveries are due again."""
    d, now = deliveries.c, system_clock()
    node = (victim.folder / "data" / "node").read_text().strip()
    with box.submitter.store.database.write() as connection:
        connection.execute(
            update(deliveries)
            .where(d.lease_owner.startswith(f"{node}:"))
            .values(lease_until=now, due=now)
        )


@contextmanager
def _receivers(folder: Path) -> Iterator[list[Receiver]]:
    with ExitStack() as stack:
        folder.mkdir(parents=True)
        yield [stack.enter_context(receiver(folder, name)) for name in "bc"]


def _configure(daemon: Daemon, concurrency: int = 8) -> None:
    daemon.outbound(concurrency=concurrency, poll_seconds=0.2, retry_first_seconds=0.2)


@contextmanager
def sender(
    folder: Path, seed: str, database: Postgres | None = None, *, concurrency: int = 8
) -> Iterator[Outbox]:
    """Operator a with two peers, on SQLite or PostgreSQL; the daemon is not started."""
    with _receivers(folder / "peers") as peers:
        daemon = lay_out(folder / "a", "a", {one.domain: one.endpoint for one in peers}, workers=1)
        _configure(daemon, concurrency)
        if database is not None:
            move(daemon, database.url)
        try:
            with outbox(daemon, peers, seed) as box:
                yield box
        finally:
            _end(daemon)


@contextmanager
def senders(
    folder: Path, seed: str, database: Postgres, bucket: ObjectServer
) -> Iterator[tuple[Outbox, Daemon]]:
    """Operator a on two machines, with one PostgreSQL, one S3 store and two peers."""
    with _receivers(folder / "peers") as peers:
        migrations.upgrade(database.url)
        routes = {one.domain: one.endpoint for one in peers}
        pair = lay_out_machines(folder, bucket.place(), database.url, routes=routes)
        for one in pair:
            _configure(one)
        try:
            with outbox(pair[0], peers, seed) as box:
                yield box, pair[1]
        finally:
            for one in pair:
                _end(one)
