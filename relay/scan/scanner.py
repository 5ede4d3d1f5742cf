"""Scanners of message content, asked before a message is accepted (DOMAIN §9.25).

The scanners are asked one after another, in the order given, once the whole message has arrived;
each has the same timeout.  A finding refuses the message (`554 5.7.1`).  A scanner that fails
defers the message (`451 4.7.1`) or lets it through, as configured.  A message is never changed: a
scanner's wish to mark it counts as nothing found.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

import structlog
from prometheus_client import Counter

from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import Draft
from relay.scan.on_failure import OnFailure
from relay.smtp.errors import Refused, StoreDeferred
from relay.smtp.reply import Reply

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")

SCANS: Final = Counter(
    "mssante_scans",
    "Messages shown to a scanner, by what came of it: clean, infected, defer, failed",
    ["scanner", "result"],
)
_MAX_NAME: Final = 60  # characters of a scanner's text that go to a peer or a log


class ScanResult(StrEnum):
    """A scanner's judgement of a message."""

    CLEAN = "clean"
    INFECTED = "infected"
    DEFER = "defer"  # the scanner wants to see the message again later


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """A scanner's answer; `name` is its finding, in its own words."""

    result: ScanResult
    name: str = ""


CLEAN: Final = ScanVerdict(ScanResult.CLEAN)
DEFER: Final = ScanVerdict(ScanResult.DEFER)


def infected(name: str) -> ScanVerdict:
    """The verdict on a message with a finding."""
    return ScanVerdict(ScanResult.INFECTED, name)


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """The envelope, for scanners that use it; `sender` is empty for the null sender.

    Recipients may name patients: only the scanner gets them.
    """

    session: str
    message: str
    address: str
    helo: str
    sender: str
    recipients: tuple[str, ...]


class ScannerFailed(Exception):
    """A scanner cannot be reached or gives no valid answer; one line says why."""


class Scanner(Protocol):
    """A content scanner; `name` is for replies, logs and metrics."""

    name: str

    async def scan(self, draft: Draft, facts: ScanFacts) -> ScanVerdict:
        """Judge a message.  May be cancelled.  Raises ScannerFailed and StoreUnavailable."""

    async def probe(self) -> None:
        """Check that the scanner answers.  May be cancelled.  Raises ScannerFailed."""


class Scanners:
    """The scanners of this operator, possibly none; `timeout` in seconds for each."""

    def __init__(
        self, scanners: Sequence[Scanner], on_failure: OnFailure, timeout: float = 60
    ) -> None:
        self._scanners = tuple(scanners)
        self._on_failure = on_failure
        self._timeout = timeout

    @property
    def on(self) -> bool:
        """Whether there is any scanner."""
        return bool(self._scanners)

    @property
    def defers(self) -> bool:
        """Whether messages are deferred while a scanner cannot answer."""
        return self._on_failure is OnFailure.DEFER

    async def probe(self, patience: float) -> dict[str, str]:
        """Ask each scanner for a sign of life, `patience` seconds each; failures by name."""
        problems: dict[str, str] = {}
        for scanner in self._scanners:
            try:
                async with asyncio.timeout(patience):
                    await scanner.probe()
            except TimeoutError:
                problems[scanner.name] = f"no answer within {patience:g} s"
            except ScannerFailed as error:
                problems[scanner.name] = str(error)
        return problems

    async def check(self, draft: Draft, facts: ScanFacts) -> None:
        """Return if the message may be accepted.  Raises Refused and StoreDeferred."""
        for scanner in self._scanners:
            try:
                verdict = await self._ask(scanner, draft, facts)
            except ScannerFailed as error:
                self._failed(scanner.name, str(error), facts)
                continue
            SCANS.labels(scanner.name, verdict.result.value).inc()
            if verdict.result is ScanResult.INFECTED:
                found = f"{scanner.name}: {printable(verdict.name)}"
                raise Refused("scan", Reply(554, "5.7.1", f"Content refused by {found}"), found)
            if verdict.result is ScanResult.DEFER:
                text = "Content cannot be judged yet, try again later"
                raise Refused("scan", Reply(451, "4.7.1", text), f"{scanner.name} asks for it")

    async def _ask(self, scanner: Scanner, draft: Draft, facts: ScanFacts) -> ScanVerdict:
        try:
            async with asyncio.timeout(self._timeout):
                return await scanner.scan(draft, facts)
        except TimeoutError:
            raise ScannerFailed(f"no answer within {self._timeout:g} s") from None
        except StoreUnavailable as error:
            raise StoreDeferred(str(error)) from error

    def _failed(self, scanner: str, why: str, facts: ScanFacts) -> None:
        SCANS.labels(scanner, "failed").inc()
        _log.warning(
            "scanner.failed",
            scanner=scanner,
            why=why,
            session=facts.session,
            message=facts.message,
            then=self._on_failure.value,
        )
        if self._on_failure is OnFailure.DEFER:
            text = "Content scanner unavailable, try again later"
            raise Refused("scan", Reply(451, "4.7.1", text), f"{scanner}: {why}")


def printable(text: str) -> str:
    """A scanner's text as one short line of printable ASCII."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:_MAX_NAME]


# For the scanners' clients.


async def octets_of(draft: Draft) -> AsyncGenerator[bytes, None]:
    """Read a draft back, in threads if it is on disk.  Raises StoreUnavailable."""
    spilled = draft.spilled
    with closing(draft.chunks()) as chunks:
        while piece := await _next(chunks) if spilled else next(chunks, b""):
            yield piece


async def _next(chunks: Generator[bytes, None, None]) -> bytes:
    reading = asyncio.create_task(asyncio.to_thread(next, chunks, b""))
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        while not reading.done():  # the generator cannot be closed while the thread runs it
            with suppress(asyncio.CancelledError):
                await asyncio.wait({reading})
        raise


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def exchange(
    opening: Awaitable[Streams],
    send: Callable[[asyncio.StreamWriter], Awaitable[None]],
    receive: Callable[[asyncio.StreamReader], Awaitable[_T]],
) -> _T:
    """Connect, then send and receive at once: a scanner may answer before the end of the message.

    Raises ScannerFailed, and the errors of `send` and `receive`.
    """
    try:
        reader, writer = await opening
    except (OSError, ValueError, OverflowError) as error:  # the last two: not an address
        raise ScannerFailed(f"cannot connect: {error}") from error
    receiving = asyncio.ensure_future(_received(receive, reader))
    sending = asyncio.ensure_future(_sent(send, writer))
    receiving.add_done_callback(lambda _: sending.cancel())
    both = (receiving, sending)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        if not receiving.done():
            sending.result()  # raises: otherwise we would wait for the answer
        return receiving.result()
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        writer.transport.abort()


async def _sent(
    send: Callable[[asyncio.StreamWriter], Awaitable[None]], writer: asyncio.StreamWriter
) -> None:
    # A scanner that hangs up may have said why: the answer read decides.
    with suppress(OSError):
        await send(writer)


async def _received(
    receive: Callable[[asyncio.StreamReader], Awaitable[_T]], reader: asyncio.StreamReader
) -> _T:
    try:
        return await receive(reader)
    except asyncio.IncompleteReadError as error:
        raise ScannerFailed("hung up without a whole answer") from error
    except asyncio.LimitOverrunError as error:
        raise ScannerFailed("answers without end") from error
    except OSError as error:
        raise ScannerFailed(f"connection lost: {error}") from error
