"""Loop of the refresh: when the white list is checked, and with which revocation lists."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.lists.hierarchy import NOW, crl, hierarchy, trust
from tests.support.lists.list_site import ListSite, white_list
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.crl_store import CrlStore
from whitelist.refresh.crl_refresh import CrlRefresher, CrlSources
from whitelist.refresh.list_refresh import ListRefresher
from whitelist.refresh.refresh_loop import RefreshIntervals, keep_current


@dataclass
class Loop:
    """Running loop with a monotonic clock that the test sets; `checks`: times of the checks."""

    site: ListSite
    refresher: ListRefresher
    now: float = 1000.0
    checks: list[float] = field(default_factory=list)
    jumped: asyncio.Event = field(default_factory=asyncio.Event)
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def check(self) -> None:
        self.checks.append(self.now)
        await asyncio.to_thread(self.refresher.check)

    async def at(self, now: float) -> list[float]:
        """Set the clock; return the checks so far, after a whole round with this clock."""
        self.now = now
        for _ in range(2):  # a round may be under way
            self.looked.clear()
            await asyncio.wait_for(self.looked.wait(), 60)
        return self.checks


@asynccontextmanager
async def running(site: ListSite) -> AsyncIterator[Loop]:
    """Run the loop with the authorities' lists as files; regular checks come each hour."""
    files = tuple(site.folder / f"{name}.crl" for name in ("root", "intermediate"))
    authorities = (hierarchy().root, hierarchy().intermediate)
    for path, authority in zip(files, authorities, strict=True):
        path.write_bytes(crl(authority))
    looking = replace(trust(), revocation=RevocationPolicy.REFUSE)
    sources = CrlSources(files, (), site.folder / "server.pem", timedelta(days=1))
    crls = CrlRefresher(sources, CrlStore(site.folder / "crl", looking.authorities), looking)
    found = Loop(site, site.refresher())
    found.refresher.trust = looking  # without lists: the loop must bring them
    task = asyncio.create_task(
        keep_current(
            crls,
            found.refresher,
            found.check,
            RefreshIntervals(refresh=3600, look=0),
            found.jumped,
            found.looked,
            lambda: found.now,
        )
    )
    try:
        yield found
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def site(tmp_path: Path) -> ListSite:
    found = ListSite(tmp_path)
    found.put(white_list("a.fr", "b.fr"))
    return found


async def test_a_check_each_hour_and_for_each_new_file(site: ListSite) -> None:
    async with running(site) as loop:
        assert await loop.at(1000) == [1000]
        assert len(loop.refresher.trust.crls) == 2
        assert await loop.at(4599) == [1000]
        assert await loop.at(4600) == [1000, 4600]
        await loop.at(4601)  # so that no round of 4600 is under way when the file comes
        site.put(white_list("a.fr", "b.fr", "c.fr", at=NOW))
        assert await loop.at(4601) == [1000, 4600, 4601]
        assert loop.refresher.archive.active() is not None


async def test_after_a_failure_it_is_checked_later_and_later(site: ListSite) -> None:
    site.put(b"<html>")
    with capture_logs() as logs:
        async with running(site) as loop:
            for now in range(1000, 1031):
                await loop.at(now)
            assert loop.checks == [1000, 1002, 1006, 1014, 1030]  # after 2, 4, 8, 16 s
            await loop.at(1031)  # so that no round of 1030 is under way when the file comes
            site.put(white_list("a.fr"))
            await loop.at(1031)
            assert loop.refresher.problem == ""
            assert (await loop.at(4630))[-1] == 1031
            assert (await loop.at(4631))[-1] == 4631
    told = [line["event"] for line in logs if line["log_level"] == "error"]
    assert told == 5 * ["whitelist.refused"]


async def test_a_clock_that_jumped_makes_it_check_at_once(site: ListSite) -> None:
    async with running(site) as loop:
        await loop.at(1000)
        loop.jumped.set()
        assert await loop.at(1001) == [1000, 1001]
        assert not loop.jumped.is_set()


async def test_a_last_check_in_time_to_come_is_made_again(site: ListSite) -> None:
    site.now = NOW + timedelta(days=1)
    site.refresher().check()
    site.now = NOW
    with capture_logs() as logs:
        async with running(site) as loop:
            await loop.at(1000)
            assert loop.refresher.archive.last_check() == NOW
            site.now = NOW - timedelta(hours=1)
            assert await loop.at(1029) == [1000]
            assert await loop.at(1030) == [1000, 1030]
    told = [line["event"] for line in logs if line["log_level"] == "error"]
    assert told == 2 * ["whitelist.checked_ahead"]
