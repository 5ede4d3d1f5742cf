"""Closed accounts are forgotten in rounds, each with its audit row."""

import asyncio
import itertools
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from mailstore.accounts.accounts import get_account
from mailstore.accounts.closing import close_account
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mssante_operator.jobs.account_forgetting import AccountForgetting
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.people.accounts import person

KEEP = timedelta(days=1095)


def closed(database: Database, *logins: str) -> None:
    with database.write() as conn:
        for login in logins:
            person(conn, login)
            close_account(conn, login, "départ", now=NOW)


def test_each_has_its_audit_row(database: Database, tmp_path: Path) -> None:
    closed(database, "claire", "paul")
    trail, now = AuditTrail(audit_keys(tmp_path)), NOW + KEEP
    job = AccountForgetting(database, trail, KEEP, lambda: now)
    assert job.forget_all() == 0
    now += timedelta(seconds=1)
    assert (job.forget_all(), job.forget_all()) == (2, 0)
    found = [(row["event"], row["subject"], row["door"]) for row in rows(database)]
    assert found == [("account.forgotten", login, "job") for login in ("claire", "paul")]


def test_a_clock_in_doubt_erases_nothing(database: Database, tmp_path: Path) -> None:
    closed(database, "claire")
    trail = AuditTrail(audit_keys(tmp_path))
    job = AccountForgetting(database, trail, KEEP, lambda: NOW + 2 * KEEP, in_doubt=lambda: True)
    assert job.forget_all() == 0
    with database.read() as conn:
        assert get_account(conn, "claire").name == "Claire Claire"


async def test_rounds_go_on_after_a_fault(database: Database, tmp_path: Path) -> None:
    closed(database, "claire")
    loop, asked, erased = asyncio.get_running_loop(), itertools.count(), asyncio.Event()

    def in_doubt() -> bool:
        number = next(asked)
        if number == 0:
            raise RuntimeError("a fault of a round")
        if number == 2:  # asked again after the first part of the second round
            loop.call_soon_threadsafe(erased.set)
        return number >= 2

    trail = AuditTrail(audit_keys(tmp_path))
    job = AccountForgetting(
        database, trail, KEEP, lambda: NOW + 2 * KEEP, in_doubt=in_doubt, interval=0.0
    )
    running = asyncio.create_task(job.run())
    await erased.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert len(rows(database)) == 1
