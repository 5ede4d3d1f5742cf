"""Fuzzed session: all actions of a client as a value, and their execution."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.fuzz.audit import Auditor, Mode
from tests.fuzz.wire import Damage, Wire


class Ending(Enum):
    """The client's way to close."""

    QUIT = auto()
    FIN = auto()
    GOODBYE = auto()  # TLS's close_notify, then FIN
    RESET = auto()
    DAMAGED = auto()  # the last record is cut off or has a changed octet, then FIN


@dataclass(frozen=True, slots=True)
class BrokenHandshake:
    """A handshake that the client damages in its first (0) or second flight."""

    flight: int
    damage: Damage
    instead: bytes = b""  # sent instead of any flight


@dataclass(frozen=True, slots=True)
class Conversation:
    """All actions of a client: moves before and under TLS, certificate, close.

    `tail` is sent last, without waiting for replies. `cuts` are the sizes of TCP segments.
    """

    peer: str | None
    version: ssl.TLSVersion
    plain: list[bytes]
    handshake: BrokenHandshake | None
    secure: list[bytes]
    lockstep: bool
    cuts: list[int]
    tail: bytes
    ending: Ending
    damage: Damage


class Talk:
    """A running session."""

    def __init__(
        self,
        wire: Wire,
        conversation: Conversation,
        context: Callable[[str | None, ssl.TLSVersion], ssl.SSLContext],
    ) -> None:
        self.auditor = Auditor(peer=conversation.peer, secure=False)
        self.secured = False
        self._wire = wire
        self._all = conversation
        self._tls = context
        self._plain_replies = 0

    @property
    def replies(self) -> int:
        return self._plain_replies + self.auditor.replies

    async def whole(self) -> None:
        """Run from connection to close."""
        await self._settle()
        await self._moves(self._all.plain)
        if self.auditor.mode is not Mode.TLS and await self._complete():
            await self._say(b"STARTTLS\r\n")
            await self._settle()
        if self.auditor.mode is Mode.TLS:
            await self._shake_hands()
        elif self.auditor.mode is Mode.OVER or self._wire.ended:
            await self._until_closed(by_us=False)
        else:
            self._wire.finish()
            await self._until_closed(by_us=True)

    async def _shake_hands(self) -> None:
        context, broken = self._tls(self._all.peer, self._all.version), self._all.handshake
        if broken is not None:
            if broken.instead:
                await self._wire.send_raw(broken.instead, self._all.cuts)
            else:
                damage = broken.damage
                await self._wire.break_handshake(context, broken.flight, damage, self._all.cuts)
            if self._all.ending is Ending.RESET:
                self._wire.reset()
            else:
                self._wire.finish()
                await self._wire.drain()
            return
        if not await self._wire.start_tls(context, self._all.cuts):
            # The octets after STARTTLS disturbed the handshake.
            await self._wire.drain()
            return
        self.secured = True
        self._plain_replies = self.auditor.replies
        before = self.auditor
        self.auditor = Auditor(
            peer=self._all.peer, secure=True, errors=before.errors, greeted=before.greeted
        )
        await self._moves(self._all.secure)
        await self._end()

    async def _end(self) -> None:
        wire, ending = self._wire, self._all.ending
        if self.auditor.mode is Mode.OVER or wire.ended:
            await self._until_closed(by_us=False)
        elif ending is Ending.QUIT and await self._complete():
            await self._say(b"QUIT\r\n")
            await self._until_closed(by_us=False)
        elif ending is Ending.RESET:
            await self._say(self._all.tail)
            wire.reset()
        else:
            if ending is Ending.DAMAGED:
                record = wire.record(self._all.tail or b"NOOP\r\n")
                await wire.send_raw(self._all.damage.apply(record), self._all.cuts)
            else:
                await self._say(self._all.tail)
            if ending is Ending.GOODBYE:
                await wire.say_goodbye()
            wire.finish()
            await self._until_closed(by_us=True)

    async def _moves(self, moves: list[bytes]) -> None:
        for move in moves:
            await self._say(move)
            if self._all.lockstep:
                await self._settle()
        await self._settle()

    async def _say(self, octets: bytes) -> None:
        self.auditor.said(octets)
        await self._wire.send(octets, self._all.cuts)

    async def _settle(self) -> None:
        """Wait for the due replies."""
        while self.auditor.owing and not self._wire.ended:
            self.auditor.heard(await self._wire.hear())

    async def _complete(self) -> bool:
        """Return the server to command mode; False if impossible."""
        while self.auditor.mode is not Mode.OVER and not self._wire.ended:
            missing = self.auditor.completion
            if not missing:
                return missing is not None
            await self._say(missing)
            await self._settle()
        return False

    async def _until_closed(self, *, by_us: bool) -> None:
        while not self._wire.ended:
            self.auditor.heard(await self._wire.hear())
        self.auditor.ended(by_us=by_us)
