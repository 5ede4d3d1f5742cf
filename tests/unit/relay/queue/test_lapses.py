"""Leases that lapsed while the database was down: an accepted message is not sent again."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.db.database import Database
from relay.delivery.in_flight import Progress
from relay.queue.lapses import GRACE_SECONDS, Lapses
from relay.queue.model import Claim, Lease, new_token
from relay.smtp.outcome import Outcome
from tests.support.clock import NOW
from tests.support.db.outage import before_postgres
from tests.support.delivery.backlog import put
from tests.support.delivery.courier_with_peers import CourierWithPeers
from tests.support.delivery.delivery_store import DeliveryStore, pending
from tests.support.delivery.queued import rows
from tests.support.waiting import until

OUTAGE = timedelta(minutes=40)


class Slow(CourierWithPeers):
    """A courier whose peers accept a message at once, and reply on demand."""

    def __init__(self, folder: Path, database: Database, answers: asyncio.Event) -> None:
        folder.mkdir()
        super().__init__(folder, database)
        self.says_so = answers

    async def deliver(self, claim: Claim, progress: Progress) -> Mapping[str, Outcome]:
        found = await super().deliver(claim, progress)
        await self.says_so.wait()
        return found

    @property
    def lapses(self) -> Lapses:
        return self.manager._committer.lapses


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_an_outage_longer_than_leases_doubles_nothing(
    tmp_path: Path, database: Database
) -> None:
    url = database.url.render_as_string(hide_password=False)
    first, second = asyncio.Event(), asyncio.Event()
    second.set()
    with (
        before_postgres(url) as (way_a, url_a),
        before_postgres(url) as (way_b, url_b),
        closing(Database(url_a)) as of_a,
        closing(Database(url_b)) as of_b,
    ):
        a, b = Slow(tmp_path / "a", of_a, first), Slow(tmp_path / "b", of_b, second)
        b.lapses._until = float("-inf")  # running for a long time
        async with a.running():
            put(database, "a.mssante.fr")
            await until(lambda: a.has_tried("0" * 32))
            async with b.running():
                await until(lambda: b.lapses.may_be_taken)
                way_a.refuse()
                way_b.refuse()
                first.set()  # the peer's 250, which cannot be recorded
                await until(lambda: not b.lapses.may_be_taken)
                a.now = b.now = NOW + OUTAGE
                way_b.mend()  # the other machine happens to be first
                put(database, "a.mssante.fr", number=1)
                await until(lambda: b.has_tried("0" * 31 + "1"))
                way_a.mend()
                await until(lambda: rows(database) == {})
    for one in (a, b):
        one.journal.close()
        one.store.blobs.close()
    assert [claim.message_id for _, claim in a.tried] == ["0" * 32]
    assert [claim.message_id for _, claim in b.tried] == ["0" * 31 + "1"]


def test_a_lapsed_lease_is_taken_once_the_others_had_time(delivery_store: DeliveryStore) -> None:
    taken = delivery_store.send()
    delivery_store.queue()
    (new,) = rows(delivery_store.store.database).keys() - {taken.id}
    later = NOW + timedelta(days=10)

    def take(*, lapsed: bool) -> tuple[set[int], set[int]]:
        running = iter([0.0, *[GRACE_SECONDS if lapsed else 0.0] * 2])
        committer = delivery_store.committer(lambda: later, Lapses(lambda: next(running)))
        wanted = [Lease(key, new_token()) for key in (taken.id, new)]
        committed = committer.commit(pending(wanted=wanted))
        expired = committer.lease_without_attempt([taken.id, new])
        return {one.id for one in committed.claims}, {one.id for one in expired}

    assert take(lapsed=False) == ({new}, set())
    assert take(lapsed=True) == ({taken.id}, set())


def test_patience_begins_with_a_courier_and_with_each_failure() -> None:
    now = [1000.0]
    lapses = Lapses(lambda: now[-1])
    found = []
    for seconds in (0, GRACE_SECONDS - 1, 1):
        now.append(now[-1] + seconds)
        found.append(lapses.may_be_taken)
    lapses.note_outage()
    for seconds in (0, GRACE_SECONDS - 1, 1):
        now.append(now[-1] + seconds)
        found.append(lapses.may_be_taken)
    assert found == [False, False, True, False, False, True]
