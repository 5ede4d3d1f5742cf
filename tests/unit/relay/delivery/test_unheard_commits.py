"""Lost connection during a courier's commit: committed, but the courier does not know."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.delivery.iteration_commit import Committed, IterationCommitter, PendingWrites
from tests.support.clock import NOW
from tests.support.delivery.backlog import put
from tests.support.delivery.courier_with_peers import CourierWithPeers, making
from tests.support.delivery.queued import rows
from tests.support.waiting import until


@pytest.fixture
def courier(tmp_path: Path, database: Database) -> Iterator[CourierWithPeers]:
    with making(tmp_path, database) as made:
        yield made


def deafen(
    monkeypatch: pytest.MonkeyPatch, which: Callable[[PendingWrites], bool]
) -> list[PendingWrites]:
    """Commit the first matching transaction without confirmation; return its writes."""
    commit, lost = IterationCommitter.commit, list[PendingWrites]()

    def unheard(self: IterationCommitter, writes: PendingWrites) -> Committed:
        committed = commit(self, writes)
        if which(writes) and not lost:
            lost.append(writes)
            raise StoreUnavailable("the connection is lost")
        return committed

    monkeypatch.setattr(IterationCommitter, "commit", unheard)
    return lost


async def test_a_lease_that_was_not_heard_of_is_given_back_at_once(
    courier: CourierWithPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = deafen(monkeypatch, lambda writes: bool(writes.wanted))
    put(courier.store.database, "a.mssante.fr")
    async with courier.running():
        # At once, not at the end of the lease after half an hour: time stands still here.
        await until(lambda: rows(courier.store.database) == {})
    assert len(lost) == 1
    ((at, claim),) = courier.tried
    assert (at, claim.attempts) == (NOW, 1)


async def test_an_outcome_that_was_not_heard_of_stands(
    courier: CourierWithPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A message accepted by the peer, and no longer in the queue, is not sent again.
    lost = deafen(monkeypatch, lambda writes: bool(writes.results))
    database = courier.store.database
    put(database, "a.mssante.fr")
    async with courier.running():
        await until(lambda: bool(lost) and rows(database) == {})
        put(database, "a.mssante.fr", number=1)
        await until(lambda: len(courier.tried) == 2 and rows(database) == {})
    assert [claim.message_id for _, claim in courier.tried] == ["0" * 32, "0" * 31 + "1"]
