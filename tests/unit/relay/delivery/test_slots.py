"""Slots of a destination: limited to the window, interactive first, each attempt answered."""

import asyncio
from contextlib import suppress

import pytest

from relay.delivery.in_flight import InFlight
from relay.delivery.slots import DestinationSlots
from relay.queue.model import Traffic

PERSON, BULK = Traffic.PERSON, Traffic.BULK


class RecordedSlots:
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
    recorded = RecordedSlots(2)
    for name in "abcd":
        await recorded.come(name)
    assert recorded.seen == [("a", True), ("b", True)]
    await recorded.leave()
    assert recorded.seen[2:] == [("c", True)]
    recorded.width = 4
    await recorded.leave()
    assert recorded.seen[3:] == [("d", True)]


async def test_people_go_before_programs_which_leave_them_a_place() -> None:
    recorded = RecordedSlots(2)
    await recorded.come("a")
    await recorded.come("program", BULK)
    await recorded.come("b")
    await recorded.come("c")
    assert recorded.seen == [("a", True), ("b", True)]
    await recorded.leave()
    await recorded.leave()
    assert recorded.seen[2:] == [("c", True)]
    await recorded.leave()
    assert recorded.seen[3:] == [("program", True)]


async def test_a_probe_does_not_wait() -> None:
    recorded = RecordedSlots(0)
    assert await recorded.slots.acquire("b", PERSON, at_once=True)


@pytest.mark.parametrize("closed", [True, False])
async def test_who_waits_for_what_is_barred_is_sent_away(*, closed: bool) -> None:
    recorded = RecordedSlots(1)
    for name in "abc":
        await recorded.come(name)
    if closed:
        recorded.slots.close()
        await asyncio.sleep(0)
    else:
        recorded.width = 0
        await recorded.leave()
    assert recorded.seen == [("a", True), ("b", False), ("c", False)]
    await recorded.come("d")
    assert recorded.seen[3:] == [("d", False)]


@pytest.mark.parametrize("admitted", [True, False])
async def test_who_gives_up_takes_no_place(*, admitted: bool) -> None:
    recorded = RecordedSlots(1)
    await recorded.come("a")
    gives_up, _ = await recorded.come("b"), await recorded.come("c")
    if admitted:
        recorded.slots.release("b")
    gives_up.cancel()
    with suppress(asyncio.CancelledError):
        await gives_up
    if not admitted:
        await recorded.leave()
    await asyncio.sleep(0)
    assert recorded.seen == [("a", True), ("c", True)]
