"""`make crash`: kills the daemon, its workers and PostgreSQL, and cuts the power, many times.

Parts: sqlite and postgresql (inbound mail); delivery (outbound mail); machines (two machines, with
a database fail-over in the middle); failover (only fail-overs, fenced and not, with a synchronous
and an asynchronous standby); outages (PostgreSQL or S3 away for one of two machines); power and
failures (power cuts, also after failed syncs). The three parts with two machines run on each
PostgreSQL present, of Debian and of the wheel.

Prints its seed, which repeats the same messages and kills (their moments depend on the machine),
then the findings of each kind of kill. Exit code 1 with problems.
"""

import argparse
import logging
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import structlog

from tests.crash.campaign import (
    Scale,
    both,
    delivery,
    fail_overs,
    lines,
    on_postgresql,
    on_sqlite,
    outages,
    power,
    power_after_failures,
)
from tests.crash.kills import Row
from tests.support.db.postgresql import Build, builds
from tests.support.faults import missing

_OF_MACHINES = {"machines": both, "failover": fail_overs, "outages": outages}
PARTS = ("sqlite", "postgresql", "delivery", *_OF_MACHINES, "power", "failures")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.name for one in builds()]
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of an earlier run")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    parser.add_argument(
        "--build", choices=names, action="append", help="a PostgreSQL for two machines; all of them"
    )
    parser.add_argument("--times", type=int, default=1, help="so many times as many kills")
    parser.add_argument("--moments", type=int, default=150, help="at which the power is cut")
    parser.add_argument("--acknowledged", type=int, default=600, help="messages of that run")
    given = parser.parse_args()
    given.only = given.only or PARTS
    given.build = given.build or names
    return given


def _on_each(
    given: argparse.Namespace,
    part: Callable[[Path, str, Scale, Build], Iterator[Row]],
    folder: Path,
    scale: Scale,
) -> Iterator[Row]:
    """Rows of a part with two machines on each PostgreSQL, with its name in front."""
    for build in builds():
        if build.name in given.build:
            for row in part(folder / build.name, given.seed, scale, build):
                row.kind = f"{build.name}: {row.kind}"
                yield row


def main() -> int:
    """Run the parts named on the command line."""
    given = _options()
    scale = Scale().times(given.times)
    folder = Path(tempfile.mkdtemp(prefix="mssante-crash-"))
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "sqlite": lambda: on_sqlite(folder / "sqlite", given.seed, scale),
        "postgresql": lambda: on_postgresql(folder / "postgresql", given.seed, scale),
        "delivery": lambda: delivery(folder / "delivery", given.seed, scale),
        "power": lambda: power(folder / "power", given.seed, given.acknowledged, given.moments),
        "failures": lambda: power_after_failures(
            folder / "failures", given.seed, given.acknowledged, given.moments // 2
        ),
    }
    for name, part in _OF_MACHINES.items():
        parts[name] = partial(_on_each, given, part, folder / name, scale)
    print(f"seed {given.seed}", flush=True)
    begun = time.monotonic()
    rows: list[Row] = []
    for name in given.only:
        if name in {"power", "failures"} and missing():
            print(f"no power cuts: {missing()}")
            continue
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        # Commands in this process reset the logs, so this is done for each part; logs in between
        # are no result.
        with redirect_stdout(sys.stderr):
            for row in parts[name]():
                rows.append(row)
                print(f"{time.monotonic() - begun:6.0f} s")
                print("\n".join(lines([row])), flush=True)  # the output of an interrupted run
    shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines(rows)))
    killed = sum(row.kills for row in rows if row.kind not in {"nothing", "power cut"})
    print(f"{killed} kills in {time.monotonic() - begun:.0f} s, seed {given.seed}")
    return int(any(row.verdict.problems for row in rows))


if __name__ == "__main__":
    sys.exit(main())
