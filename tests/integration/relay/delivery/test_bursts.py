"""Hundreds of messages are sent without a poll: after a wake-up the courier finds all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore.db.database import Database
from relay.queue.destinations import pause, resume
from relay.queue.due import NEWEST
from relay.queue.model import ALL
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from tests.support.delivery.backlog import put_many
from tests.support.delivery.courier_with_peers import CourierWithPeers, making
from tests.support.delivery.queued import rows
from tests.support.waiting import until

MANY = 3 * NEWEST


@pytest.fixture
def courier(tmp_path: Path, database: Database) -> Iterator[CourierWithPeers]:
    with making(tmp_path, database, poll=3600) as made:
        yield made


async def at_rest(courier: CourierWithPeers) -> None:
    """Wait for the courier's only poll; from then on it delivers only after wake-ups."""
    put_many(courier.store.database, "first.mssante.fr", [10**6])
    await until(lambda: courier.has_tried(f"{10**6:032x}") and not rows(courier.store.database))


async def test_a_burst_of_hundreds_leaves_at_once(courier: CourierWithPeers) -> None:
    async with courier.running():
        await at_rest(courier)
        put_many(courier.store.database, "b.mssante.fr", range(MANY))
        await until(lambda: not rows(courier.store.database))
    assert len(courier.tried) == 1 + MANY


@pytest.mark.parametrize("what", ["b.mssante.fr", ALL])
async def test_a_backlog_leaves_as_soon_as_its_pause_ends(
    courier: CourierWithPeers, what: str
) -> None:
    database = courier.store.database
    async with courier.running():
        await at_rest(courier)
        with database.write() as connection:
            pause(connection, what, "why")
            notify_in_transaction(connection)
        notify_after_commit(database.url)
        put_many(database, "b.mssante.fr", range(MANY))
        with database.write() as connection:
            assert resume(connection, what)
            notify_in_transaction(connection)
        notify_after_commit(database.url)
        await until(lambda: not rows(database))
    assert len(courier.tried) == 1 + MANY
