"""Early check of the white list: when mail requests it, and not too often."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from mssante_operator.assembly.storage import open_database
from mssante_operator.assembly.trust import open_crl_refresher, open_trust
from mssante_operator.roles.maintenance import _keep_current
from mssante_operator.settings.model import load
from relay.machines.list_sharing import ListSharing
from tests.support.machines.daemon import lay_out
from tests.support.machines.list_machines import refresher_of
from tests.support.waiting import until
from whitelist.national.newest import MARGIN, ConfirmedList
from whitelist.refresh.early_check import EARLY_SECONDS, EarlyCheck

WAIT = MARGIN.total_seconds()


@dataclass
class Asked:
    """Stamp of the file that mail touches to request a check."""

    number: int = 0
    check: EarlyCheck = field(init=False)

    def __post_init__(self) -> None:
        self.check = EarlyCheck(lambda: self.number)

    def ask(self) -> None:
        self.number += 1


def test_nothing_is_checked_unasked() -> None:
    early = Asked(7).check
    early.begun(0)
    assert not any(early.is_due(now) for now in range(0, 4000, 100))


def test_a_check_begins_late_enough_to_decide_about_the_mail_that_asks() -> None:
    asked = Asked()
    asked.check.begun(0)
    asked.ask()
    assert not asked.check.is_due(1000)
    assert not asked.check.is_due(1000 + WAIT)
    assert asked.check.is_due(1001 + WAIT)
    asked.check.begun(1001 + WAIT)
    assert not asked.check.is_due(5000)


def test_checks_of_their_kind_keep_a_distance() -> None:
    asked = Asked()
    asked.check.begun(1000)
    begun = []
    for now in range(1000, 2000):
        asked.ask()  # like a queue full of mistyped domains
        if asked.check.is_due(now):
            asked.check.begun(now)
            begun.append(now)
    distances = [after - before for before, after in zip([1000, *begun], begun, strict=False)]
    assert begun
    assert min(distances) >= EARLY_SECONDS


def test_a_check_that_came_too_soon_is_followed_by_another() -> None:
    asked = Asked()
    asked.check.begun(0)
    asked.ask()
    assert not asked.check.is_due(1000)
    asked.check.begun(1001)  # the regular check: it may have started before the mail's request
    assert not asked.check.is_due(1001 + WAIT)
    assert asked.check.is_due(1001 + EARLY_SECONDS)


async def test_maintenance_checks_for_mail_that_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whitelist.refresh.early_check.EARLY_SECONDS", 0.1)
    monkeypatch.setattr("whitelist.refresh.early_check.MARGIN", timedelta(seconds=-1))
    daemon = lay_out(tmp_path / "a", "a")
    refresher, archive = refresher_of(daemon), refresher_of(daemon).archive
    settings = load(daemon.config)
    trust = open_trust(settings)
    assert settings.whitelist.refresh_seconds == 3600
    crls = open_crl_refresher(settings, trust)
    looked, jumped = asyncio.Event(), asyncio.Event()
    database = open_database(settings)
    sharing = ListSharing(database, refresher)
    keeping = asyncio.create_task(_keep_current(settings, trust, crls, sharing, jumped, looked))
    await asyncio.wait_for(looked.wait(), 60)

    def last() -> ConfirmedList:
        found = archive.known().own
        assert found is not None
        return found

    before = last()
    archive.want_check()
    await until(lambda: keeping.done() or last() != before)
    assert not keeping.done()
    assert last().digest == before.digest
    keeping.cancel()
    database.close()
