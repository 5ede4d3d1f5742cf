"""Watchers in one process: told once, however much changes."""

import asyncio

import pytest

from mailstore.news.watchers import Watchers
from tests.support.waiting import PATIENCE


async def test_many_changes_are_one_event() -> None:
    watchers = Watchers()
    watcher = watchers.add(1)
    for _ in range(1_000):
        watchers.tell([1])
    assert await watcher.changed()
    assert not watcher.told
    waiting = asyncio.create_task(watcher.changed())
    await asyncio.sleep(0)
    assert not waiting.done()
    watchers.tell([1])
    async with asyncio.timeout(PATIENCE):
        assert await waiting


async def test_a_change_during_a_look_is_the_next_event() -> None:
    watchers = Watchers()
    looks = 0
    with watchers.add(1) as watcher:
        watchers.tell([1])
        async for _ in watcher:
            looks += 1
            if looks == 1:
                watchers.tell([1])
            else:
                watcher.close()
    assert looks == 2


def test_only_watchers_of_the_mailbox_are_told() -> None:
    watchers = Watchers()
    one, twin, other = watchers.add(1), watchers.add(1), watchers.add(2)
    watchers.tell([1, 3])
    assert [one.told, twin.told, other.told] == [True, True, False]
    watchers.tell_all()
    assert other.told


async def test_a_closed_watcher_ends_a_wait_and_is_forgotten() -> None:
    watchers = Watchers()
    one, other = watchers.add(1), watchers.add(1)
    waiting = asyncio.create_task(one.changed())
    await asyncio.sleep(0)
    one.close()
    one.close()
    async with asyncio.timeout(PATIENCE):
        assert not await waiting
    assert not await one.changed()
    assert watchers.present.is_set()
    other.close()
    assert not watchers.present.is_set()
    with pytest.raises(StopAsyncIteration):
        await anext(other)


def test_all_are_closed_together() -> None:
    watchers = Watchers()
    some = [watchers.add(number % 3) for number in range(7)]
    watchers.close()
    assert all(one.closed for one in some)
    assert not watchers.present.is_set()
