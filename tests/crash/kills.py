"""SIGKILL to the whole daemon, to a worker, or to PostgreSQL: at random, and at each named step.

Each function kills a number of times, judges the result, and returns a row of the table.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tests.crash.load import Load
from tests.crash.site import PATIENCE, Postgres, Site
from tests.crash.verdict import Verdict
from tests.support.machines.processes import state_of
from tests.support.waiting import until_now

RANDOM: Final = "at random"
JITTER: Final = 0.05  # a random kill falls within these seconds: several group commits
LARGE: Final = (70_000, 300_000, 1_000_000)  # octets; bodies kept as files
SPILLING: Final = (3_000_000,)  # octets; bodies never in memory as a whole

# Allowed replies while PostgreSQL is dead: try again later.
TEMPORARY: Final = {"451 4.3.0", "421 4.3.0"}


@dataclass(slots=True)
class Row:
    """The kills of one kind at one step, and the findings after them."""

    kind: str
    step: str
    kills: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    def judged(self, site: Site, kills: int) -> None:
        """Add kills, and the present findings."""
        self.kills += kills
        self.verdict.add(site.judge())


def _sizes(step: str) -> Sequence[int]:
    """Body sizes that pass a step: bodies of small messages are never files."""
    if step.startswith("draft."):
        return SPILLING
    return LARGE if step.startswith("blobs.") else (2_000, 2_000, 20_000, *LARGE)


def _any_moment(site: Site) -> None:
    site.acknowledgements(site.chance.randrange(1, 30))
    time.sleep(site.chance.uniform(0, JITTER))  # the kill may fall at any moment


def daemon_at_random(site: Site, kills: int) -> Row:
    """Kill all processes at once, repeatedly."""
    row = Row("daemon", RANDOM)
    for _ in range(kills):
        site.start()
        with site.load():
            _any_moment(site)
            site.daemon.kill()
        row.judged(site, 1)
    return row


def daemon_at_step(site: Site, step: str, kills: int) -> Row:
    """Kill all processes at once when any of them reaches the step."""
    row = Row("daemon", step)
    for _ in range(kills):
        site.start(f"daemon@{step}:{site.chance.randrange(1, 12)}")
        assert site.daemon.process is not None
        with site.load(_sizes(step)):
            site.daemon.process.wait(PATIENCE)
            site.daemon.kill()
        row.judged(site, 1)
    return row


class _Dead:
    """Counts dead workers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._seen = site.daemon.processes("worker")

    @property
    def count(self) -> int:
        living = self._site.daemon.processes("worker")
        self._seen |= living
        return len(self._seen - living)


def _at_work(site: Site) -> list[int]:
    """Workers that have accepted mail: a worker that dies at its start stops the daemon."""
    log = site.daemon.log()
    return sorted(pid for pid in site.daemon.processes("worker") if f"worker:{pid} " in log)


def worker_at_random(site: Site, kills: int) -> Row:
    """Kill one worker after the other; the supervisor replaces each."""
    row = Row("worker", RANDOM)
    site.start()
    with site.load():
        for _ in range(kills):
            _any_moment(site)
            until_now(lambda: bool(_at_work(site)), PATIENCE)
            with suppress(ProcessLookupError):
                os.kill(site.chance.choice(_at_work(site)), signal.SIGKILL)
        site.acknowledgements(1)
    row.judged(site, kills)
    site.daemon.stop()
    return row


def worker_at_step(site: Site, step: str, kills: int) -> Row:
    """Kill each worker at the step, a number of times."""
    row = Row("worker", step)
    site.start(f"{step}:{site.chance.randrange(1, 9)}")
    dead = _Dead(site)
    with site.load(_sizes(step)):
        until_now(lambda: dead.count >= kills, PATIENCE)
    row.judged(site, dead.count)
    site.daemon.stop()
    return row


def _revive(site: Site, database: Postgres, load: Load) -> None:
    """Start the database again; the daemon, not restarted, continues by itself."""
    said = site.ledger.refusals
    if site.chance.random() < 0.5:  # or before any session has asked the database
        before = said.total()
        until_now(lambda: said.total() > before or load.stopping.is_set(), PATIENCE)
    database.restart()
    site.acknowledgements(8)


def postgres_at_random(site: Site, database: Postgres, kills: int) -> Row:
    """Kill all processes of the database under a running daemon."""
    row = Row("PostgreSQL", RANDOM)
    site.start()
    with site.load() as load:
        for _ in range(kills):
            _any_moment(site)
            database.kill()
            _revive(site, database, load)
    row.judged(site, kills)
    _only_temporary(site, row)
    site.daemon.stop()
    return row


def postgres_at_step(site: Site, database: Postgres, step: str, kills: int) -> Row:
    """Kill all processes of the database while a worker is at the step."""
    row = Row("PostgreSQL", step)
    site.start(f"stop@{step}:{site.chance.randrange(1, 9)}")
    with site.load(_sizes(step)) as load:
        for _ in range(kills):
            until_now(lambda: bool(_stopped(site)), PATIENCE)
            database.kill()
            _go_on(site)
            _revive_stopping(site, database, load)
        load.stopping.set()
        _keep_going(site, load)
    row.judged(site, kills)
    _only_temporary(site, row)
    site.daemon.stop()
    return row


def _stopped(site: Site) -> list[int]:
    return [one for one in site.daemon.processes("worker") if state_of(one) == "T"]


def _go_on(site: Site) -> None:
    for one in _stopped(site):
        os.kill(one, signal.SIGCONT)


def _revive_stopping(site: Site, database: Postgres, load: Load) -> None:
    """As `_revive`, while workers stop at each step and are continued."""
    database.restart()
    goal = site.ledger.acknowledged + 8

    def again() -> bool:
        _go_on(site)
        return site.ledger.acknowledged >= goal or load.stopping.is_set()

    until_now(again, PATIENCE)


def _keep_going(site: Site, load: Load) -> None:
    """Continue stopped workers until the last client has its reply."""

    def over() -> bool:
        _go_on(site)
        return load.ended

    until_now(over, PATIENCE)


def _only_temporary(site: Site, row: Row) -> None:
    row.verdict.problems += [
        f"said while the database was dead: {one}"
        for one in site.ledger.refusals
        if one not in TEMPORARY
    ]
