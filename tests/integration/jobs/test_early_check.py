"""Early check of the white list by the maintenance process, when mail requests it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from mssante_operator.assembly.storage import open_database
from mssante_operator.assembly.trust import open_crl_refresher, open_trust
from mssante_operator.settings.model import load
from relay.machines.list_sharing import ListSharing
from tests.support.machines.daemon import lay_out
from tests.support.machines.list_machines import refresher_of
from tests.support.waiting import until
from whitelist.national.newest import ConfirmedList
from whitelist.refresh.refresh_loop import RefreshIntervals, keep_current


async def test_maintenance_checks_for_mail_that_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whitelist.refresh.early_check.EARLY_SECONDS", 0.1)
    monkeypatch.setattr("whitelist.refresh.early_check.MARGIN", timedelta(seconds=-1))
    daemon = lay_out(tmp_path / "a", "a")
    refresher, archive = refresher_of(daemon), refresher_of(daemon).archive
    settings = load(daemon.config)
    crls = open_crl_refresher(settings, open_trust(settings))
    looked, jumped = asyncio.Event(), asyncio.Event()
    database = open_database(settings)
    sharing = ListSharing(database, refresher)
    intervals = RefreshIntervals(refresh=3600, look=0.5)
    keeping = asyncio.create_task(
        keep_current(crls, refresher, sharing.check, intervals, jumped, looked)
    )
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
