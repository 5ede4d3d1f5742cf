"""Runs tests with the clock moved: `make test-clock`, all of it; `--short` for a few tests.

No test may depend on the day on which it is run.  A library in place of the C library's calls
(tests/support/faults/clock.c) moves the clock of the day of all processes, and the times of files
with it.  Left out is what leaves that library behind: other mail servers in a machine of their own,
programs run with an empty environment, and what measures or takes long.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from calendar import isleap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.support.faults import library, missing

PARTS: Final = ("tests/unit", "tests/integration", "tests/interop", "tests/crash")
LEFT_OUT: Final = (
    "project",
    "parts",
    "test_checkout.py",
    "test_crash.py",
    "test_crash_delivery.py",
    "test_dialogues_postfix.py",
    "test_full_disk.py",
    "test_exim.py",
    "test_opensmtpd.py",
    "test_postfix.py",
    "test_swaks.py",
    "test_machines_apart.py",
    "test_machines_failover.py",
    "test_machines_outages.py",
    "test_peers_exim.py",
    "test_peers_postfix.py",
    "test_power.py",
    "test_readme.py",
    "test_soak.py",
    "test_tls_scanners.py",
    "test_wheel.py",
)
SHORT: Final = (
    "-k",
    "not postgresql",
    "tests/integration/commands/test_failed_expiry.py::test_the_daemon_forgets_as_it_starts",
    "tests/integration/commands/test_queue_audit.py::TestAudit::test_trace_shows_what_became_of_a_message",
    "tests/unit/foundation/journal/test_search.py",
)
_LEAD: Final = timedelta(seconds=40)  # before a change: so long the tests take to begin
_PARIS: Final = {"TZ": "Europe/Paris"}


@dataclass(frozen=True)
class Moment:
    """A time at which to begin, and variables of the environment."""

    name: str
    begin: datetime
    environment: Mapping[str, str] = field(default_factory=dict)


def moments(now: datetime) -> list[Moment]:
    """60 days from now, a year from now, across 29 February and both changes of summer time."""
    leap = next(year for year in range(now.year + 1, now.year + 10) if isleap(year))
    year = now.year + 1
    return [
        Moment("in 60 days", now + timedelta(days=60)),
        Moment("in a year", now + timedelta(days=365)),
        Moment("into 29 February", datetime(leap, 2, 29, tzinfo=UTC) - _LEAD),
        Moment("out of 29 February", datetime(leap, 3, 1, tzinfo=UTC) - _LEAD),
        Moment("into summer time", _change(year, 3) - _LEAD, _PARIS),
        Moment("out of summer time", _change(year, 10) - _LEAD, _PARIS),
    ]


def _change(year: int, month: int) -> datetime:
    """When summer time begins or ends in Europe: the last Sunday of a month, 01:00 UTC."""
    last = datetime(year, month, 31, 1, tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)


def run(moment: Moment, words: Sequence[str]) -> int:
    """Run pytest as if it were then; returns its exit code."""
    shift = round((moment.begin - datetime.now(UTC)).total_seconds())
    moved = {"LD_PRELOAD": str(library("clock")), "CLOCK_SHIFT": str(shift)}
    environment = {**os.environ, **moved, **moment.environment}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, env=environment, check=False).returncode


def main() -> int:
    """Run what the arguments ask for; 1 if any test failed."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few tests, 60 days from now")
    parser.add_argument("--only", metavar="NAME", help='one moment, such as "in a year"')
    parser.add_argument("words", nargs="*", help="for pytest, after --: tests and options")
    given = parser.parse_args()
    if problem := missing():
        sys.stderr.write(f"the clock cannot be moved here: {problem}\n")
        return 1
    chosen = [one for one in moments(datetime.now(UTC)) if given.only in (None, one.name)]
    if not chosen:
        parser.error(f"no moment is named {given.only!r}")
    left_out = " and ".join(f"not {name}" for name in LEFT_OUT)
    words = ["-k", left_out, "-n", "auto", "--dist", "worksteal", *(given.words or PARTS)]
    if given.short:
        chosen, words = chosen[:1], [*SHORT, *given.words]
    failed = []
    for moment in chosen:
        sys.stdout.write(f"--- {moment.name}: {moment.begin:%Y-%m-%d %H:%M:%S} UTC\n")
        sys.stdout.flush()
        if run(moment, words):
            failed.append(moment.name)
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "passed at each moment\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
