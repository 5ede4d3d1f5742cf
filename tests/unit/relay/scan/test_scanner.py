"""Scanners before the final 250 (DOMAIN §9.25): the effect of their answers and failures."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import MEMORY_LIMIT, Draft
from relay.scan.on_failure import OnFailure
from relay.scan.scanner import (
    CLEAN,
    DEFER,
    SCANS,
    ScanFacts,
    Scanner,
    ScannerFailed,
    Scanners,
    ScanVerdict,
    infected,
    octets_of,
    printable,
)
from relay.smtp.errors import Refused, StoreDeferred
from tests.support.peers.scanners import CLEAN_MESSAGE, FACTS, draft, drafted, harmed_draft


@dataclass
class Scripted:
    """A scanner with given answers; `asked` has the order of the questions."""

    answer: ScanVerdict | Exception | Callable[[], Awaitable[ScanVerdict]]
    name: str = "scripted"
    asked: list[str] = field(default_factory=list)

    async def probe(self) -> None:
        pass

    async def scan(self, draft: Draft, facts: ScanFacts) -> ScanVerdict:
        assert (b"".join(draft.chunks()), facts) == (CLEAN_MESSAGE, FACTS)
        self.asked.append(self.name)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, ScanVerdict):
            return self.answer
        return await self.answer()


async def check(
    path: Path, *scanners: Scanner, on_failure: OnFailure = OnFailure.DEFER, patience: float = 20
) -> None:
    await Scanners(scanners, on_failure, patience).check(draft(path, CLEAN_MESSAGE), FACTS)


def counted(name: str, result: str) -> float:
    return float(SCANS.labels(name, result)._value.get())


async def test_without_scanners_everything_passes(tmp_path: Path) -> None:
    await check(tmp_path)


async def test_scanners_are_asked_in_order_until_one_refuses(tmp_path: Path) -> None:
    order: list[str] = []
    one, two = Scripted(CLEAN, "one", order), Scripted(infected("Bad"), "two", order)
    three = Scripted(CLEAN, "three", order)
    with pytest.raises(Refused) as refused:
        await check(tmp_path, one, two, three)
    assert order == ["one", "two"]
    assert (refused.value.rule, refused.value.detail) == ("scan", "two: Bad")
    assert str(refused.value.reply) == "554 5.7.1 Content refused by two: Bad"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Eicar-Test", "Eicar-Test"),
        ("", ""),
        ("a\r\n250 2.0.0 Accepted", "a??250 2.0.0 Accepted"),
        ("h\xe9l\xe8ne\x00\x7f\u2028", "h?l?ne???"),
        ("x" * 10_000, "x" * 60),
    ],
    ids=["plain", "none", "line ends", "not ASCII", "long"],
)
async def test_a_name_is_a_harmless_line(tmp_path: Path, name: str, shown: str) -> None:
    assert printable(name) == shown
    with pytest.raises(Refused) as refused:
        await check(tmp_path, Scripted(infected(name)))
    assert refused.value.reply.text == f"Content refused by scripted: {shown}"


async def test_a_scanner_may_put_a_message_off(tmp_path: Path) -> None:
    for on_failure in OnFailure:  # an answer, and no failure
        with pytest.raises(Refused, match=r"451 4\.7\.1 .*again later"):
            await check(tmp_path, Scripted(DEFER), on_failure=on_failure)


async def never() -> ScanVerdict:
    await asyncio.Event().wait()
    return CLEAN


DOWN = [(ScannerFailed("cannot connect"), "cannot connect"), (never, "no answer within 0.05 s")]


@pytest.mark.parametrize(("answer", "why"), DOWN, ids=["down", "hangs"])
async def test_while_a_scanner_is_down_messages_wait(
    tmp_path: Path, answer: Exception, why: str
) -> None:
    with pytest.raises(Refused) as refused:
        await check(tmp_path, Scripted(answer), patience=0.05)
    assert str(refused.value.reply) == ("451 4.7.1 Content scanner unavailable, try again later")
    assert (refused.value.rule, refused.value.detail) == ("scan", f"scripted: {why}")


@pytest.mark.parametrize(("answer", "why"), DOWN, ids=["down", "hangs"])
async def test_or_pass_where_that_is_wanted_told_and_counted(
    tmp_path: Path, answer: Exception, why: str
) -> None:
    order: list[str] = []
    down, other = Scripted(answer, "down", order), Scripted(CLEAN, "other", order)
    before = counted("down", "failed")
    with capture_logs() as logs:
        await check(tmp_path, down, other, on_failure=OnFailure.ACCEPT, patience=0.05)
    assert order == ["down", "other"]
    assert counted("down", "failed") == before + 1
    (line,) = logs
    told = {"event": "scanner.failed", "scanner": "down", "why": why, "then": "accept"}
    assert told.items() <= line.items()
    assert (line["session"], line["message"]) == (FACTS.session, FACTS.message)
    assert not set(FACTS.recipients) & set(map(str, line.values()))


async def test_an_infection_counts_although_another_scanner_is_down(tmp_path: Path) -> None:
    down, other = Scripted(ScannerFailed("x"), "down"), Scripted(infected("Bad"), "other")
    with pytest.raises(Refused, match=r"554 5\.7\.1"):
        await check(tmp_path, down, other, on_failure=OnFailure.ACCEPT)


@pytest.mark.parametrize(
    ("answer", "result"), [(CLEAN, "clean"), (infected("x"), "infected"), (DEFER, "defer")]
)
async def test_answers_are_counted(tmp_path: Path, answer: ScanVerdict, result: str) -> None:
    before = counted("counted", result)
    await asyncio.gather(check(tmp_path, Scripted(answer, "counted")), return_exceptions=True)
    assert counted("counted", result) == before + 1


async def test_a_store_that_is_unwell_is_no_scanners_fault(tmp_path: Path) -> None:
    for on_failure in OnFailure:
        with pytest.raises(StoreDeferred, match=r"451 4\.3\.0"):
            await check(tmp_path, Scripted(StoreUnavailable("cannot read")), on_failure=on_failure)


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT, 5 * MEMORY_LIMIT + 1])
async def test_pieces_are_the_message(tmp_path: Path, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    with drafted(tmp_path, data) as message:
        assert b"".join([piece async for piece in octets_of(message)]) == data


async def test_pieces_of_a_harmed_draft(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        [piece async for piece in octets_of(harmed_draft(tmp_path))]
