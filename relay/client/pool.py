"""Connection pool: connections to peers, kept for some seconds between messages.

The peer's certificate is checked again for the domain of each message: the white list may have
changed, and a peer may serve a domain only if the list has its name for that domain (DOMAIN §3.3).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final, cast

from mailstore.errors import StoreUnavailable
from relay.client.connect import ClientConfig, EhloRejected, open_connection
from relay.client.connection import ClientConnection
from relay.client.routing import Target
from relay.client.transaction import OutcomeUnknown, Stale, over_recipient_limit, transact
from relay.smtp.envelope import OutgoingMessage
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State

FOLLOW_UP_SECONDS: Final = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class _Idle:
    """An idle connection, kept until a time of the event loop's clock."""

    connection: ClientConnection
    until: float
    timer: asyncio.TimerHandle


class ConnectionPool:
    """Sends messages, on connections that carry several messages in turn.

    A connection is ended with QUIT after `max_messages` (or the peer's limit, RFC 9422), or after
    `idle_seconds` without a message.  If more than `max_idle` connections, to all peers, are idle,
    the longest idle is ended: each costs a file descriptor and some tens of kilobytes.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        idle_seconds: float = 10.0,
        max_messages: int = 100,
        max_idle: int = 300,
    ) -> None:
        self._config = config
        self._idle_seconds = idle_seconds
        self._max_messages = max_messages
        self._max_idle = max_idle
        self._idle: dict[Target, list[_Idle]] = {}
        self._parked: dict[ClientConnection, Target] = {}  # idle connections, longest idle first
        self._leaving: set[asyncio.Task[None]] = set()

    async def hand_over(
        self, domain: str, targets: Sequence[Target], make_message: Callable[[], OutgoingMessage]
    ) -> Mapping[str, Outcome]:
        """Give a message to the first of `targets` that answers; return recipients' outcomes.

        `make_message()` makes the message anew for each try; its generator of octets is closed.
        After a failure the next target is tried, never in clear text and never under another name;
        but not if the peer may already have the message.  Recipients beyond the peer's limit per
        transaction follow in further transactions, on the same connection if it lasts. Raises
        AttemptFailed, and errors from reading the message; never after a transaction has given a
        recipient a final reply.
        """
        failure = AttemptFailed(FailureReason.NO_ROUTE, f"{domain} has no host")
        for target in targets:
            try:
                answers = await self._try(domain, target, make_message)
            except OutcomeUnknown:
                raise
            except AttemptFailed as failed:
                failure = failed
            else:
                return await self._follow_up(domain, target, make_message, answers)
        raise failure

    async def _follow_up(
        self,
        domain: str,
        target: Target,
        make_message: Callable[[], OutgoingMessage],
        answers: Mapping[str, Outcome],
    ) -> Mapping[str, Outcome]:
        """Give the message to recipients over the limit, in further transactions (RFC 9422 §4).

        Earlier outcomes stand after any error, or the message would be sent twice.  After
        FOLLOW_UP_SECONDS no further transaction begins: the rest waits for the next attempt.
        """
        found = dict(answers)
        # A transaction has no time limit as a whole (RFC 5321 §4.5.3.2); but a slow peer with many
        # transactions to follow would keep our slot for days.
        clock = asyncio.get_running_loop().time
        until = clock() + FOLLOW_UP_SECONDS
        while (rest := over_recipient_limit(answers)) and clock() < until:

            def narrowed(rest: Sequence[str] = rest) -> OutgoingMessage:
                message = make_message()
                return replace(message, envelope=message.envelope.narrowed(rest))

            try:
                answers = await self._try(domain, target, narrowed)
            except OutcomeUnknown as unknown:
                return found | dict(unknown.outcomes)
            except (AttemptFailed, StoreUnavailable, OSError) as error:
                waits = Outcome(State.WAITING, str(error))
                answers = dict.fromkeys(rest, waits)
            except asyncio.CancelledError:
                cast("asyncio.Task[None]", asyncio.current_task()).uncancel()
                break
            found |= answers
        return found

    async def close(self) -> None:
        """End all connections with QUIT; no message may be in flight."""
        for idle in [one for ones in self._idle.values() for one in ones]:
            idle.timer.cancel()
            self._dismiss(idle.connection)
        self._idle.clear()
        self._parked.clear()
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def _try(
        self, domain: str, target: Target, make_message: Callable[[], OutgoingMessage]
    ) -> Mapping[str, Outcome]:
        connection = await self._take(domain, target)
        if connection is not None:
            try:
                return await self._carry(connection, target, make_message)
            except Stale:
                pass  # the connection ended while idle, not the host's fault: try a new connection
        try:
            connection = await open_connection(target, domain, self._config)
        except EhloRejected as refused:
            answer = Outcome(State.FAILED, str(refused), dsn=False)
            return dict.fromkeys(make_message().envelope.addresses, answer)
        return await self._carry(connection, target, make_message)

    async def _carry(
        self,
        connection: ClientConnection,
        target: Target,
        make_message: Callable[[], OutgoingMessage],
    ) -> Mapping[str, Outcome]:
        try:
            async with AsyncExitStack() as stack:
                message = make_message()
                if isinstance(message.octets, AsyncGenerator):
                    stack.push_async_callback(message.octets.aclose)
                answers = await transact(connection, self._config, message)
        except BaseException:
            # The next message must not continue this transaction.
            connection.abort()
            raise
        if connection.usable and connection.messages < self._message_limit(connection):
            self._park(connection, target, asyncio.get_running_loop().time() + self._idle_seconds)
        else:
            self._dismiss(connection)
        return answers

    def _message_limit(self, connection: ClientConnection) -> int:
        return min(self._max_messages, connection.offers.mail_max or self._max_messages)

    async def _take(self, domain: str, target: Target) -> ClientConnection | None:
        """Return the last used idle connection whose peer may receive mail for the domain now."""
        passed_over: list[_Idle] = []
        found = None
        while found is None and (idle := self._pop(target)) is not None:
            connection = idle.connection
            try:
                await self._config.judge(
                    domain,
                    connection.tls_info.certificate,
                    connection.tls_info.tls_version,
                    connection.tls_info.cipher,
                )
            except AttemptFailed:
                passed_over.append(idle)  # may still serve another domain
            except BaseException:
                connection.abort()
                raise
            else:
                found = connection
        for idle in passed_over:
            self._park(idle.connection, target, idle.until)
        return found

    def _pop(self, target: Target) -> _Idle | None:
        ones = self._idle.get(target, [])
        while ones:
            idle = ones.pop()
            idle.timer.cancel()
            del self._parked[idle.connection]
            if not ones:
                del self._idle[target]
            if idle.connection.usable:
                return idle
            self._dismiss(idle.connection)
        return None

    def _park(self, connection: ClientConnection, target: Target, until: float) -> None:
        timer = asyncio.get_running_loop().call_at(until, self._expire, connection, target)
        self._idle.setdefault(target, []).append(_Idle(connection, until, timer))
        self._parked[connection] = target
        if len(self._parked) > self._max_idle:
            self._expire(*next(iter(self._parked.items())))

    def _expire(self, connection: ClientConnection, target: Target) -> None:
        del self._parked[connection]
        ones = self._idle.pop(target)
        for idle in ones:
            if idle.connection is connection:
                idle.timer.cancel()
        if others := [one for one in ones if one.connection is not connection]:
            self._idle[target] = others
        self._dismiss(connection)

    def _dismiss(self, connection: ClientConnection) -> None:
        """End a connection with QUIT, in the background."""
        task = asyncio.get_running_loop().create_task(connection.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
