"""Slots of a destination: limited to the window, interactive first, each attempt answered."""

import asyncio
from contextlib import suppress

import pytest

from relay.delivery.in_flight import InFlight
from relay.delivery.slots import DestinationSlots
from relay.queue.model import Traffic

PERSON, BULK = Traffic.PERSON, Traffic.BULK


class World:
    """Slots of destination "b"; records in order which attempts got a slot or a refusal."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.slots = DestinationSlots(
            InFlight(), lambda _domain, traffic: self.width - (traffic is BULK and self.width > 1)
        )
        self.seen: list[tuple[str, bool]] = []

    async def come(self, name: str, traffic: Traffic = PERSON) -> "asyncio.Task[None]":
        """Begin an attempt that wants a slot."""

        async def enter() -> None:
            self.seen.append((name, await self.slots.acquire("b", traffic, at_once=False)))

        task = asyncio.create_task(enter())
        await asyncio.sleep(0)
        return task

    async def leave(self) -> None:
        """End an attempt that has a slot."""
        self.slots.release("b")
        await asyncio.sleep(0)


async def test_as_many_speak_as_the_window_is_wide() -> None:
    world = World(2)
    for name in "abcd":
        await world.come(name)
    assert world.seen == [("a", True), ("b", True)]
    await world.leave()
    assert world.seen[2:] == [("c", True)]
    world.width = 4
    await world.leave()
    assert world.seen[3:] == [("d", True)]


async def test_people_go_before_programs_which_leave_them_a_place() -> None:
    world = World(2)
    await world.come("a")
    await world.come("program", BULK)
    await world.come("b")
    await world.come("c")
    assert world.seen == [("a", True), ("b", True)]
    await world.leave()
    await world.leave()
    assert world.seen[2:] == [("c", True)]
    await world.leave()
    assert world.seen[3:] == [("program", True)]


async def test_a_probe_does_not_wait() -> None:
    world = World(0)
    assert await world.slots.acquire("b", PERSON, at_once=True)


@pytest.mark.parametrize("closed", [True, False])
async def test_who_waits_for_what_is_barred_is_sent_away(*, closed: bool) -> None:
    world = World(1)
    for name in "abc":
        await world.come(name)
    if closed:
        world.slots.close()
        await asyncio.sleep(0)
    else:
        world.width = 0
        await world.leave()
    assert world.seen == [("a", True), ("b", False), ("c", False)]
    await world.come("d")
    assert world.seen[3:] == [("d", False)]


@pytest.mark.parametrize("admitted", [True, False])
async def test_who_gives_up_takes_no_place(*, admitted: bool) -> None:
    world = World(1)
    await world.come("a")
    gives_up, _ = await world.come("b"), await world.come("c")
    if admitted:
        world.slots.release("b")
    gives_up.cancel()
    with suppress(asyncio.CancelledError):
        await gives_up
    if not admitted:
        await world.leave()
    await asyncio.sleep(0)
    assert world.seen == [("a", True), ("c", True)]
