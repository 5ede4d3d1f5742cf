"""Campaigns: the kinds of kills and power cuts, their numbers, and the table of findings."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from foundation.failpoints import DELIVERY_STEPS, STEPS
from tests.crash import couriers, kills, machines
from tests.crash.field import Field, two_machines
from tests.crash.kills import Row
from tests.crash.power import KEEPS, Recorded, cut, everything, record
from tests.crash.recording import Event
from tests.crash.site import postgres, site
from tests.crash.verdict import Verdict
from tests.support.db.postgresql import Build
from tests.support.db.replicas import replicating
from tests.support.storage.object_server import object_server_running

_HEADER: Final = (
    *("killed", "at", "kills", "acknowledged", "found", "lost", "doubled", "unanswered"),
    "lagged",
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Number of kills of each kind: at random, and at each of the steps."""

    daemon: int = 30
    worker: int = 30
    postgres: int = 20
    daemon_step: int = 3
    worker_step: int = 6
    postgres_step: int = 2
    courier: int = 15
    sender: int = 10
    courier_step: int = 3
    sender_step: int = 2
    postgres_out: int = 10
    postgres_out_step: int = 1
    machines: int = 6
    both: int = 50
    fail_over: int = 4

    def times(self, count: int) -> "Scale":
        """Multiply all numbers."""
        return Scale(**{one.name: getattr(self, one.name) * count for one in fields(self)})


def on_sqlite(folder: Path, seed: str, scale: Scale) -> Iterator[Row]:
    """The whole daemon, and a single worker; the final state must be in order."""
    with site(folder, f"{seed} sqlite") as here:
        yield kills.daemon_at_random(here, scale.daemon)
        yield kills.worker_at_random(here, scale.worker)
        for step in STEPS:
            yield kills.daemon_at_step(here, step, scale.daemon_step)
            yield kills.worker_at_step(here, step, scale.worker_step)
        yield Row("nothing", "at the end", 0, Verdict(problems=here.leave()))


def on_postgresql(folder: Path, seed: str, scale: Scale) -> Iterator[Row]:
    """PostgreSQL, under a daemon that is not restarted."""
    with postgres() as database, site(folder, f"{seed} pg", database=database.url) as here:
        yield kills.postgres_at_random(here, database, scale.postgres)
        for step in STEPS:
            yield kills.postgres_at_step(here, database, step, scale.postgres_step)
        yield Row("nothing", "at the end", 0, Verdict(problems=here.leave()))


def delivery(folder: Path, seed: str, scale: Scale) -> Iterator[Row]:
    """The courier, on SQLite and PostgreSQL, and on two machines."""
    with couriers.sender(folder / "sqlite", f"{seed} out") as box:
        yield couriers.courier_at_random(box, scale.courier)
        yield couriers.daemon_at_random(box, scale.sender)
    with couriers.sender(folder / "steps", f"{seed} steps", concurrency=1) as box:
        for step in DELIVERY_STEPS:
            yield couriers.courier_at_step(box, step, scale.courier_step)
            yield couriers.daemon_at_step(box, step, scale.sender_step)
    with postgres() as database, couriers.sender(folder / "pg", f"{seed} pg", database) as box:
        yield couriers.postgres_at_random(box, database, scale.postgres_out)
        for step in DELIVERY_STEPS:
            yield couriers.postgres_at_step(box, database, step, scale.postgres_out_step)
    with (
        postgres() as database,
        object_server_running() as bucket,
        couriers.senders(folder / "two", f"{seed} two", database, bucket) as (box, other),
    ):
        yield couriers.one_machine_of_two(box, other, scale.machines)


@contextmanager
def _field(folder: Path, seed: str, build: Build) -> Iterator[Field]:
    with (
        replicating(build) as pair,
        object_server_running() as bucket,
        two_machines(folder, f"{seed} {folder.name} {build.name}", pair, bucket) as field,
    ):
        yield field


def both(folder: Path, seed: str, scale: Scale, build: Build) -> Iterator[Row]:
    """Kills over two machines, with a database fail-over in the middle, with and without lag."""
    for name, synchronous in (("synchronous", True), ("asynchronous", False)):
        with _field(folder / name, seed, build) as field:
            yield machines.kills(field, scale.both, synchronous=synchronous)


def fail_overs(folder: Path, seed: str, scale: Scale, build: Build) -> Iterator[Row]:
    """Fail-overs in a row; without a fence only if the standby is synchronous.

    The last row has neither fence nor synchronous standby: it shows the possible loss.
    """
    for synchronous, fencing in ((True, True), (True, False), (False, True), (False, False)):
        name = f"{'sync' if synchronous else 'async'}-{'fenced' if fencing else 'unfenced'}"
        with _field(folder / name, seed, build) as field:
            yield machines.fail_overs(
                field, scale.fail_over, synchronous=synchronous, fencing=fencing
            )


def outages(folder: Path, seed: str, _scale: Scale, build: Build) -> Iterator[Row]:
    """Each process killed while PostgreSQL or S3 is away for its machine, in each way."""
    with _field(folder / "away", seed, build) as field:
        yield from machines.outages(field)


def _no_bodies(event: Event) -> bool:
    return event.how != "s" and "/blobs/tmp/" not in event.path


def _no_folders(event: Event) -> bool:
    return event.how != "s" and not event.path.rpartition("/")[0].endswith("/blobs")


def _no_log(event: Event) -> bool:
    return event.how != "s" and not event.path.endswith("-wal")


# Control: without one kind of sync, the same run must lose acknowledged mail.
WITHOUT: Final[dict[str, Callable[[Event], bool]]] = {
    "the bodies' syncs": _no_bodies,
    "the folders' syncs": _no_folders,
    "the log's syncs": _no_log,
}


# A failed sync of each kind; the octets or names that it covered are lost.
FAILING: Final = (
    "fdatasync */blobs/tmp/* once keep",
    "any *.db-wal once keep",
    "fsync */blobs/?? once keep",
    "any *.db once keep",
)


def power(folder: Path, seed: str, acknowledgements: int, moments: int) -> Iterator[Row]:
    """Cut the power at many moments of a run, each in three ways; then check the checker."""
    folder.mkdir()
    recorded = record(folder, seed, acknowledgements, (everything, *WITHOUT.values()))
    chance = random.Random(seed)
    names = dict(
        zip(KEEPS, ("nothing unsynced kept", "all of it kept", "chance keeps"), strict=True)
    )
    rows = {keeps: Row("power cut", name) for keeps, name in names.items()}
    for _, keeps, verdict in cut(recorded, recorded.disks[0], chance, moments):
        rows[keeps].kills += 1
        rows[keeps].verdict.add(verdict)
    yield from rows.values()
    yield from _distrust(recorded, chance, moments)


def power_after_failures(
    folder: Path, seed: str, acknowledgements: int, moments: int
) -> Iterator[Row]:
    """The same after failed syncs, whose octets and names are lost for good."""
    folder.mkdir()
    recorded = record(folder, seed, acknowledgements, failing=FAILING)
    row = Row("power cut", "after syncs that failed")
    for _, _, verdict in cut(recorded, recorded.disks[0], random.Random(seed), moments):
        row.kills += 1
        row.verdict.add(verdict)
    yield row


def _distrust(recorded: Recorded, chance: random.Random, moments: int) -> Iterator[Row]:
    """Leave out one kind of sync: the checker must notice."""
    for name, disk in zip(WITHOUT, recorded.disks[1:], strict=True):
        verdicts = [one for *_, one in cut(recorded, disk, chance, max(2, moments // 10))]
        row = Row("power cut", f"without {name}", len(verdicts))
        for one in verdicts:
            row.verdict.add(one)
        noticed = row.verdict.problems
        row.verdict.problems = [] if noticed else [f"without {name} nothing was found to be lost"]
        yield row


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table, and below it all problems."""
    table: list[tuple[str, ...]] = [_HEADER]
    for row in rows:
        found = row.verdict
        figures = (
            *(found.acknowledged, found.found, found.lost, found.doubled, found.unanswered),
            found.lagged,
        )
        table.append((row.kind, row.step, str(row.kills), *map(str, figures)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        left, right = cells[:2], cells[2:]
        yield "  ".join(
            [
                *(cell.ljust(width) for cell, width in zip(left, widths[:2], strict=True)),
                *(cell.rjust(width) for cell, width in zip(right, widths[2:], strict=True)),
            ]
        )
    for row in rows:
        for problem in row.verdict.problems:
            yield f"PROBLEM  {row.kind} {row.step}: {problem}"
