"""ClamAV: a real clamd if installed, and a scripted one for faults."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import MEMORY_LIMIT
from relay.scan.clamav import Clamav, read_answer
from relay.scan.on_failure import OnFailure
from relay.scan.scanner import CLEAN, ScannerFailed, Scanners, infected
from relay.smtp.errors import SmtpError
from tests.support.peers.scanners import (
    CLAMD,
    CLEAN_MESSAGE,
    EICAR,
    FACTS,
    RunningClamd,
    clamd,
    draft,
    drafted,
    harmed_draft,
    needs,
    scripted,
)
from tests.support.waiting import until

STREAM_MAX = 1024 * 1024  # octets that the running clamd takes
LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)
FOUND = infected("Test.Eicar.UNOFFICIAL")  # not from a signed database
HEADER = b"Subject: x\r\n\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningClamd]:
    with clamd(tmp_path_factory.mktemp("clamd")) as server:
        yield server


@needs(CLAMD, "clamd")
class TestRealClamd:
    @pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
    @pytest.mark.parametrize("where", ["endpoint", "socket"])
    def test_eicar_is_found_and_the_rest_is_clean(
        self,
        running: RunningClamd,
        tmp_path: Path,
        where: str,
        loop: Callable[[], asyncio.AbstractEventLoop],
    ) -> None:
        scanner = Clamav(getattr(running, where))
        filler = b"x" * (MEMORY_LIMIT // 2)
        cases = [
            ((CLEAN_MESSAGE,), CLEAN),
            ((), CLEAN),
            ((HEADER, EICAR), FOUND),
            # On disk, with the signature split between two sent pieces.
            ((HEADER, filler, filler, filler[:-60], EICAR, filler), FOUND),
            ((HEADER, filler, filler, filler, filler), CLEAN),
        ]
        with asyncio.Runner(loop_factory=loop) as runner:
            for parts, verdict in cases:
                with drafted(tmp_path, *parts) as message:
                    assert runner.run(scanner.scan(message, FACTS)) == verdict

    async def test_an_infected_message_is_refused_with_the_name(
        self, running: RunningClamd, tmp_path: Path
    ) -> None:
        scanners = Scanners([Clamav(running.socket)], OnFailure.ACCEPT)
        with pytest.raises(SmtpError) as refused:
            await scanners.check(draft(tmp_path, HEADER, EICAR), FACTS)
        assert (
            str(refused.value.reply) == "554 5.7.1 Content refused by clamav: Test.Eicar.UNOFFICIAL"
        )
        await scanners.check(draft(tmp_path, CLEAN_MESSAGE), FACTS)

    async def test_many_at_once(self, running: RunningClamd, tmp_path: Path) -> None:
        scanner = Clamav(running.endpoint)
        found = await asyncio.gather(
            *(
                scanner.scan(draft(tmp_path, HEADER, EICAR if i % 2 else b"Bonjour"), FACTS)
                for i in range(20)
            )
        )
        assert found == [FOUND if i % 2 else CLEAN for i in range(20)]

    @pytest.mark.parametrize("size", [STREAM_MAX + 1, 20 * STREAM_MAX])
    async def test_a_message_over_its_limit_is_not_judged(
        self, running: RunningClamd, tmp_path: Path, size: int
    ) -> None:
        # The rest of a large message is still being sent when clamd hangs up: its last words may
        # be lost on the way, like those of any peer that resets a connection.
        why = "StreamMaxLength|connection lost|hung up"
        with drafted(tmp_path, b"x" * size) as large, pytest.raises(ScannerFailed, match=why):
            await Clamav(running.socket).scan(large, FACTS)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"stream: OK", CLEAN),
        (b"stream: Win.Test.EICAR_HDB-1 FOUND", infected("Win.Test.EICAR_HDB-1")),
        (b"stream: a FOUND b FOUND", infected("a FOUND b")),
        (b"stream: \xff\r\n FOUND", infected("\ufffd\r\n")),
    ],
)
def test_verdicts(answer: bytes, verdict: object) -> None:
    assert read_answer(answer) == verdict


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "answered: $"),
        (b"stream:  FOUND", "answered"),
        (b"stream: OK\n", r"answered: stream: OK\?"),
        (b"xstream: OK", "answered"),
        (b"INSTREAM size limit exceeded. ERROR", "over clamd's StreamMaxLength"),
        (b"stream: Can't allocate memory ERROR", "Can't allocate memory ERROR"),
        (b"UNKNOWN COMMAND", "UNKNOWN COMMAND"),
        (b"\xc3\xa9" * 500, r"answered: \?{60}$"),
    ],
)
def test_anything_else_is_a_failure(answer: bytes, says: str) -> None:
    with pytest.raises(ScannerFailed, match=says):
        read_answer(answer)


async def heard_by(path: Path, *parts: bytes) -> bytes:
    """The octets on the wire for a message."""
    heard = b""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.readexactly(10)
        size = 1
        while size:
            frame = await reader.readexactly(4)
            size = int.from_bytes(frame, "big")
            heard += frame + await reader.readexactly(size)
        writer.write(b"stream: OK\0")

    async with scripted(hear) as server:
        assert await Clamav(server.endpoint).scan(draft(path, *parts), FACTS) == CLEAN
    return heard


async def test_the_wire_form(tmp_path: Path) -> None:
    assert await heard_by(tmp_path) == b"zINSTREAM\0" + bytes(4)
    assert await heard_by(tmp_path, b"abc") == b"zINSTREAM\0\0\0\0\3abc" + bytes(4)


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", "hung up without a whole answer"),
        (b"stream: OK", "hung up without a whole answer"),
        (b"x" * 100_000, "answers without end"),
        (b"HTTP/1.0 400 Bad request\r\n\r\n\0", "answered: HTTP/1.0 400"),
    ],
    ids=["nothing", "half", "endless", "another protocol"],
)
async def test_misbehaviour(tmp_path: Path, says: bytes, why: str, *, large: bool) -> None:
    async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while int.from_bytes(await reader.readexactly(4), "big"):
            await reader.read(1000)
            break
        writer.write(says)
        await writer.drain()

    size = 20 * MEMORY_LIMIT if large else 1000
    async with scripted(misbehave) as server:
        # With octets of ours unread, its end of the connection is a reset (RFC 1122 §4.2.2.13).
        with (
            drafted(tmp_path, b"x" * size) as message,
            pytest.raises(ScannerFailed, match=f"{why}|connection lost"),
        ):
            await Clamav(server.endpoint).scan(message, FACTS)


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("reads", [False, True], ids=["reads nothing", "reads all"])
async def test_a_scanner_that_hangs_is_cut(tmp_path: Path, *, large: bool, reads: bool) -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await (reader.read(-1) if reads else asyncio.Event().wait())

    size = 40 * MEMORY_LIMIT if large else 1000
    async with scripted(hang) as server:
        scanners = Scanners([Clamav(server.endpoint)], OnFailure.DEFER, timeout=0.2)
        with (
            drafted(tmp_path, b"x" * size) as message,
            pytest.raises(SmtpError, match=r"451 4\.7\.1 .* \[clamav: no answer within 0.2 s\]"),
        ):
            await scanners.check(message, FACTS)
        # A reader sees that we have hung up.
        await until(lambda: server.ended == reads)


async def test_an_early_answer_counts(tmp_path: Path) -> None:
    """A scanner may answer before the end of the message."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        writer.write(b"stream: Early FOUND\0")
        await reader.read(-1)

    async with scripted(answer) as server:
        with drafted(tmp_path, b"x" * 40 * MEMORY_LIMIT) as message:
            assert await Clamav(server.endpoint).scan(message, FACTS) == infected("Early")


async def test_a_draft_that_cannot_be_read_is_the_stores_fault(tmp_path: Path) -> None:
    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    message = harmed_draft(tmp_path)
    async with scripted(wait) as server:
        with pytest.raises(StoreUnavailable, match="cannot read from the blob store"):
            await Clamav(server.endpoint).scan(message, FACTS)
        await until(lambda: server.ended == 1)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "unix:/nowhere/clamd.sock", "127.0.0.1:99999", "nonsense"]
)
async def test_nobody_there(tmp_path: Path, address: str) -> None:
    with pytest.raises(ScannerFailed, match=r"^cannot connect: "):
        await Clamav(address).scan(draft(tmp_path, CLEAN_MESSAGE), FACTS)
