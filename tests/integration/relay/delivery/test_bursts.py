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
from tests.support.delivery.courier_with_peers import World, making
from tests.support.delivery.queued import rows
from tests.support.waiting import until

MANY = 3 * NEWEST


@pytest.fixture
def world(tmp_path: Path, database: Database) -> Iterator[World]:
    with making(tmp_path, database, poll=3600) as made:
        yield made


async def at_rest(world: World) -> None:
    """Wait for the courier's only poll; from then on it delivers only after wake-ups."""
    put_many(world.store.database, "first.mssante.fr", [10**6])
    await until(lambda: world.has_tried(f"{10**6:032x}") and not rows(world.store.database))


async def test_a_burst_of_hundreds_leaves_at_once(world: World) -> None:
    async with world.running():
        await at_rest(world)
        put_many(world.store.database, "b.mssante.fr", range(MANY))
        await until(lambda: not rows(world.store.database))
    assert len(world.tried) == 1 + MANY


@pytest.mark.parametrize("what", ["b.mssante.fr", ALL])
async def test_a_backlog_leaves_as_soon_as_its_pause_ends(world: World, what: str) -> None:
    database = world.store.database
    async with world.running():
        await at_rest(world)
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
    assert len(world.tried) == 1 + MANY
