"""Two machines under load, killed and cut off, with a PostgreSQL fail-over in the middle.

Each function gives rows of the table: `make crash ARGS="--only machines"` and its siblings.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

from tests.crash.field import Field, Machine
from tests.crash.kills import JITTER, RANDOM, Row
from tests.crash.site import PATIENCE
from tests.support.waiting import until_now

ROLES: Final = ("worker", "courier", "maintenance")
BATCH: Final = 6  # messages queued for a kill
HELD: Final = 15.0  # seconds of an outage: longer than a connection takes


def _any_moment(field: Field) -> None:
    time.sleep(field.box.chance.uniform(0, 20 * JITTER))  # the kill may fall at any moment


def kills(field: Field, times: int, *, synchronous: bool) -> Row:
    """Kill processes and whole daemons of both machines; fail the database over in the middle."""
    name = "synchronous" if synchronous else "asynchronous"
    row = Row("either of two machines", f"{RANDOM}, {name} fail-over")
    field.pair.wait_for_standby(on=synchronous)
    field.start()
    chance = field.box.chance
    with field.load():
        field.acknowledgements(1)
        for number in range(times):
            field.box.post(BATCH)
            _any_moment(field)
            if number == times // 2 - 1 and not synchronous:
                field.pair.lag()
            if number == times // 2:
                field.fail_over(kill=chance.random() < 0.5)
            one = chance.choice(field.machines)
            row.verdict.problems += _revived(field, one)
            _kill(field, one, chance.choice([*ROLES, "daemon"]))
            row.kills += 1
        for one in field.machines:
            row.verdict.problems += _revived(field, one)
        field.acknowledgements(1)
    row.verdict.add(field.judge())
    return row


def _revived(field: Field, one: Machine) -> list[str]:
    """Report and restart a daemon that has ended by itself."""
    if one.lives:
        return []
    told = f"the daemon ended: {one.daemon.log()[-500:]}"
    field.restart(one)
    return [told]


def _kill(field: Field, one: Machine, role: str) -> None:
    """Kill a process of the role, or the whole daemon, which is restarted."""
    if role == "daemon":
        field.kill(one)
        one.daemon.start()
    else:
        # A process that is being replaced is not there to be killed.
        until_now(lambda: not one.lives or bool(one.daemon.processes(role)), PATIENCE)
        if not one.lives:
            return  # reported at its next kill
        field.kill(one, role)


def fail_overs(field: Field, times: int, *, synchronous: bool, fencing: bool) -> Row:
    """Fail the database over, repeatedly, under load; its old primary lives or is killed."""
    name = "synchronous" if synchronous else "asynchronous"
    row = Row("PostgreSQL's primary", f"{name}, {'fenced' if fencing else 'not fenced'}")
    field.start()
    with field.load():
        for number in range(times):
            field.pair.wait_for_standby(on=synchronous)
            field.box.post(BATCH)
            field.acknowledgements(3)
            if not synchronous:
                field.pair.caught_up()
                field.pair.lag()
                field.box.post(BATCH)
                field.acknowledgements(1)
            field.fail_over(kill=fencing and number % 2 == 0, fencing=fencing)
            if not fencing:
                field.box.post(BATCH)
                _any_moment(field)
                field.fence()
            field.box.post(BATCH)
            field.acknowledgements(3)
            row.kills += 1
            field.pair.synchronous = False
            field.pair.renew()
    row.verdict.add(field.judge())
    return row


_AWAY: Final[dict[str, Callable[[Field, Machine], None]]] = {
    "PostgreSQL cut off": lambda _, one: one.database.cut(),
    "PostgreSQL frozen": lambda _, one: one.database.freeze(),
    "PostgreSQL gone without a word": lambda _, one: one.database.vanish(),
    "PostgreSQL slow": lambda _, one: one.database.slow(latency=0.05),
    "PostgreSQL's machine hung": lambda field, _: field.pair.primary.freeze(),
    "PostgreSQL's disk hung": lambda field, _: field.hang_commits(),
    "S3 cut off": lambda _, one: one.bucket.cut(),
    "S3 frozen": lambda _, one: one.bucket.freeze(),
    "S3 gone without a word": lambda _, one: one.bucket.vanish(),
    "S3 slow": lambda _, one: one.bucket.slow(latency=0.2, rate=200_000),
    "S3 corrupt": lambda _, one: one.bucket.corrupt(997),
}


def outages(field: Field, seconds: float = HELD) -> Iterator[Row]:
    """Kill each role of a machine during an outage of its own; check that it recovers."""
    field.start()
    for fault, begin in _AWAY.items():
        for role in ROLES:
            row = Row(f"{role}, {fault}", "", 1)
            _outage(field, row, role, begin, seconds)
            yield row


def _outage(
    field: Field, row: Row, role: str, begin: Callable[[Field, Machine], None], seconds: float
) -> None:
    one = field.box.chance.choice(field.machines)
    with field.load():
        field.box.post(BATCH)
        field.acknowledgements(1)
        field.kill(one, role)
        begin(field, one)  # replaced after a second, within the outage
        time.sleep(seconds)  # to see that nothing ends
        field.mend()
        mended = time.monotonic()
        row.verdict.problems += _revived(field, one)
        try:
            until_now(lambda: one.ready == 200, PATIENCE)
        except TimeoutError:
            row.verdict.problems.append(f"not ready {PATIENCE:.0f} s after")
        row.step = f"healed in {time.monotonic() - mended:.0f} s"
        field.acknowledgements(1)
    row.verdict.add(field.judge())
