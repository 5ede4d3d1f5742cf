"""One fuzzed conversation: all that a client does, as a value, and the doing of it."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.fuzz.audit import Auditor, Mode
from tests.fuzz.wire import Damage, Wire


class Ending(Enum):
    """How the client goes."""

    QUIT = auto()
    FIN = auto()
    GOODBYE = auto()  # TLS's close_notify, then FIN
    RESET = auto()
    DAMAGED = auto()  # the last record is cut off or one octet of it changed, then FIN


@dataclass(frozen=True, slots=True)
class BrokenHandshake:
    """A handshake that the client spoils in its first (0) or second flight."""

    flight: int
    damage: Damage
    instead: bytes = b""  # sent in place of any flight


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that a client does: moves before and under TLS, its certificate, and how it goes.

    `tail` is said last and its replies are not waited for.  `cuts` are the sizes of TCP segments.
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
    """One conversation on its way."""

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
        """From the connection to its end."""
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
            # What was said after STARTTLS was in the way.
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
        """Wait for the replies that are due."""
        while self.auditor.owing and not self._wire.ended:
            self.auditor.heard(await self._wire.hear())

    async def _complete(self) -> bool:
        """Bring the server back to reading commands; False if it cannot be."""
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
