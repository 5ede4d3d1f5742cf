"""The inbound SMTP session, one class on aiosmtpd: commands in, replies out, nothing lost.

The `Service` of a session gives it a table of the commands in order in each state
(`relay.server.states`), handlers that carry the commands out and return the reply
(`relay.server.greeting`, `relay.server.mail_commands`), and a policy that decides who may send to
whom (`relay.server.session_policy`).

Some parts of aiosmtpd cannot carry the load or the rules and are not used: lines (bare CR, bare LF
and NUL are refused, nothing read before STARTTLS survives it), replies (grouped as RFC 2920 §3.2
asks, one error tree, the session's id), timeouts (every wait for the peer has its limit, our own
work has none) and the end (a `421`, then close, then abort if the peer does not read).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from aiosmtpd.smtp import SMTP

from foundation.failpoints import failpoint
from foundation.privacy import mask
from relay import metrics
from relay.connection.limits import LINGER_SECONDS, SessionCounts
from relay.connection.streams import InboundBuffer, ReplyWriter
from relay.server import aiosmtpd_adapter
from relay.server.context import SessionContext
from relay.server.data import PacedReader
from relay.server.journal import SessionJournal
from relay.server.rcpt_pipeline import RcptPipeline
from relay.server.session_policy import Handshake, SessionPolicy
from relay.server.states import ARGUMENT_FIRST, BARE, OutOfOrder, SessionState, Table
from relay.server.transaction import Transaction
from relay.smtp.errors import Disconnected, Refused, SmtpError, StoreDeferred, SyntaxRefused
from relay.smtp.reply import Acknowledged, Goodbye, Reply, refusal_line, reply_lines

_QUIET_SECONDS: Final = 0.2  # of silence: the peer has sent all that was under way

_IDLE: Final = Reply(421, "4.4.2", "Idle for too long")

Handler = Callable[["Session", str], Awaitable[Reply | None]]


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of listener: its commands with their order, its EHLO extensions, its policy.

    Each verb of the table has a handler.  It is called with the argument, empty if there is none,
    and returns the reply, or None if it has sent the reply itself.
    """

    commands: Table
    handlers: Mapping[bytes, Handler]
    offers: Callable[[SessionContext, SessionState], list[str]]
    policy: Callable[[SessionContext], SessionPolicy]


class Session(SMTP):
    """A connection, from its opening to its end, with its transactions one after the other."""

    def __init__(self, context: SessionContext, service: Service) -> None:
        limits = context.limits
        super().__init__(
            **aiosmtpd_adapter.arguments(context.hostname, "ESMTP MSSante", limits.idle_seconds)
        )
        self.context = context
        self.service = service
        self.id = context.new_id()
        self.journal = SessionJournal(context, self.id)
        self.policy = service.policy(context)
        self.inbound = InboundBuffer(self._before_wait)
        self.pipeline = RcptPipeline(self.inbound, context.rcpt_lines)
        self.state = SessionState.CLEAR
        self.tls_begun = False  # from the 220 of STARTTLS on
        self.client_name = ""  # of EHLO, empty again after STARTTLS (RFC 3207 §4.2)
        self.transaction: Transaction | None = None
        self.tally = SessionCounts(limits)
        self._linger: asyncio.TimerHandle | None = None
        self.ended_by = "peer"  # the side that ended the session, for the journal

    def __dir__(self) -> list[str]:
        """Nothing: aiosmtpd would search the members of each session for commands."""
        return []

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session."""
        context, stream = self.context, cast("asyncio.Transport", transport)
        self.inbound.attach(stream)
        self.outbound = ReplyWriter(stream)
        aiosmtpd_adapter.attach(self, self.inbound, self.outbound)
        super().connection_made(transport)
        self._greeting_ends = self.loop.time() + context.limits.greeting_seconds
        address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        context.connection_counts.add(self, address)
        if not context.quiet:
            metrics.SESSIONS.inc()
        metrics.OPEN.inc()
        self.journal.opened(address)
        self.policy.connected(self, self.journal)

    def data_received(self, data: bytes | memoryview) -> None:
        """Octets from the peer."""
        self.inbound.feed(data)

    def eof_received(self) -> bool:
        """The peer stopped sending; commands that have arrived are answered where TCP allows."""
        self.inbound.feed_eof()
        return not self.tls_begun  # TLS cannot be half-closed

    def pause_writing(self) -> None:
        """The peer does not read its replies."""
        super().pause_writing()
        self.outbound.pause()

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        self.outbound.resume()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone: an unacknowledged message is dropped."""
        if self.transport is None:
            return
        journal, policy = self.journal, self.policy
        policy.closed()
        self.outbound.resume()
        super().connection_lost(error)
        if self._linger is not None:
            self._linger.cancel()
        metrics.OPEN.dec()
        self.context.connection_counts.remove(self, journal.address, policy.name)
        journal.keep_transcript(policy.name)
        journal.record("session.closed", messages=self.tally.messages, ended_by=self.ended_by)
        aiosmtpd_adapter.once_over(self, self._release)

    def _release(self, _: object) -> None:
        aiosmtpd_adapter.cut_circles(self)
        self._linger = None
        self.inbound.detach()
        del self.outbound, self.policy

    # Time and the end.

    def _timeout_cb(self) -> None:
        self.hang_up(_IDLE)

    def hang_up(self, reply: Reply, *, at_once: bool = False) -> None:
        """Say why and close the connection, unless it is closing already."""
        if self.outbound.transport.is_closing():
            return
        self._cut(reply, "")
        if at_once or (self.tls_begun and not self.state.has_tls):
            # During a handshake no reply can be sent.
            self.outbound.transport.abort()
            return
        self.write(refusal_line(reply, self.id))
        self._close()

    def drop(self) -> None:
        """End the connection now, even if the peer has not read all replies."""
        self.outbound.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no transaction is under way: the session can be ended without loss."""
        return self.transaction is None

    def _cut(self, reply: Reply, detail: str) -> None:
        self.ended_by = "us"
        metrics.CUT.labels(f"{reply.code} {reply.enhanced}").inc()
        address = self.journal.address
        self.journal.tell("session.cut", reply=str(reply), detail=detail, address=address)

    def _close(self) -> None:
        """Close after sending the last reply; abort if the peer does not read it."""
        transport = self.outbound.transport
        self.outbound.close()
        self._linger = self.loop.call_later(LINGER_SECONDS, transport.abort)

    async def _discard(self) -> None:
        """Drop the octets still arriving: if we closed before them, TCP would lose our reply."""
        self.outbound.flush()
        end = self.loop.time() + LINGER_SECONDS
        while (left := end - self.loop.time()) > 0:
            try:
                await self.inbound.wait(min(left, _QUIET_SECONDS))
            except TimeoutError:
                return
            self.inbound.take()

    # Commands in, replies out.

    async def _handle_client(self) -> None:
        """Obey commands until the connection ends."""
        await self.say(Reply(220, "", f"{self.hostname} {self.__ident__}"))
        try:
            while not self.outbound.transport.is_closing():
                verb = b""
                try:
                    line = self.inbound.pipelined()
                    if line is None:
                        line = await self._next_line()
                    verb = line.partition(b" ")[0].upper()
                    reply = await self.run_command(verb, line[len(verb) :].strip(b" \t"), line)
                    if reply is not None:
                        await self.say(reply)
                except ConnectionError:
                    self.outbound.transport.abort()
                except Exception as error:
                    await self._refuse(verb, error)
        finally:
            self.forget_transaction()

    async def _next_line(self) -> bytes:
        """The next command line; between chunks the wait counts in the message's time."""
        limits = self.context.limits
        body = self.transaction.body if self.transaction is not None else None
        if body is not None:
            return await PacedReader(self.inbound, body.pace).readline(limits.idle_seconds)
        patience = limits.idle_seconds
        if not self.state.has_tls:
            patience = min(patience, max(self._greeting_ends - self.loop.time(), 0.001))
        aiosmtpd_adapter.wait_at_most(self, patience)
        line = await self.inbound.readline()
        aiosmtpd_adapter.stop_waiting(self)
        return line

    async def run_command(self, verb: bytes, argument: bytes, line: bytes) -> Reply | None:
        """Carry out a command; returns its reply, None if it was sent.  Raises SmtpError."""
        if self.journal.transcribed:
            self.journal.said_by_client(line)
        self.tally.commands += 1
        if self.policy.ending is not None:
            raise Disconnected(self.policy.ending)
        self.tally.check()
        if verb not in self.service.commands:
            raise SyntaxRefused("Command not recognised", code=500, enhanced="5.5.2")
        try:
            text = argument.decode()
        except UnicodeDecodeError:
            raise SyntaxRefused("Argument is not UTF-8", code=501, enhanced="5.5.2") from None
        handler = self.service.handlers[verb]
        if verb in ARGUMENT_FIRST:
            return await handler(self, text)
        following = self.next_state(verb, bare=not text)
        reply = await handler(self, text)
        self.state = following
        return reply

    def next_state(self, verb: bytes, *, bare: bool) -> SessionState:
        """The state that a command leads to.  Raises SmtpError if the command is out of order."""
        cell = self.service.commands[verb][self.state]
        if isinstance(cell, OutOfOrder) and not cell.syntax_first:
            raise cell.error()
        if not bare and verb in BARE:
            raise SyntaxRefused(f"Syntax: {verb.decode()}")
        if isinstance(cell, OutOfOrder):
            raise cell.error()
        return cell

    async def _refuse(self, verb: bytes, error: Exception) -> None:
        """Turn an error into a reply; the only place that does."""
        journal = self.journal
        if not isinstance(error, SmtpError):
            # The position in the stream is unknown: nothing after it may be read as a command.
            if journal.record("session.error", error=type(error).__name__):
                journal.log.error("session.error", exc_info=error)
            error = Disconnected(StoreDeferred("").reply, type(error).__name__)
        rule, presented = "", ""
        if isinstance(error, Refused):
            rule, presented = error.rule, error.presented
        metrics.REFUSED.labels(rule or type(error).__name__, str(error.reply.code)).inc()
        if error.reply.permanent and verb != b"RCPT":
            # Many unknown recipients in a list must not end the session again and again.
            self.tally.errors += 1
        facts = {
            "command": verb[:10].decode("ascii", "replace"),
            "rule": rule or type(error).__name__,
            "reply": mask(str(error.reply)),
            "detail": mask(error.detail),
        }
        journal.tell("refused", **facts)
        self.write(refusal_line(error.reply, self.id, rule, presented))
        if isinstance(error, Disconnected):
            self._cut(error.reply, error.detail)
            await self._discard()
            self._close()
        elif self.outbound.blocked:
            await self._let_read()

    def _before_wait(self) -> None:
        self.outbound.flush()

    def write(self, octets: bytes) -> None:
        """Queue octets of replies for sending."""
        if self.journal.transcribed:
            name, tls = self.policy.name, self.state.has_tls
            self.journal.said_by_server(octets, name, tls=tls)
        self.outbound.write(octets)

    async def say(self, reply: Reply) -> None:
        """Send a reply; replies to pipelined commands are sent together."""
        self.write(reply_lines(reply))
        if isinstance(reply, Acknowledged):
            self.outbound.flush()
            failpoint("answer.written")
        if self.outbound.blocked:
            await self._let_read()
        if isinstance(reply, Goodbye):
            self.ended_by = "quit"
            self._close()

    async def _let_read(self) -> None:
        """Wait until the peer has read enough of its replies."""
        aiosmtpd_adapter.wait_at_most(self, self.context.limits.idle_seconds)
        await self.outbound.drain()
        aiosmtpd_adapter.stop_waiting(self)

    # Called by handlers.

    async def secured(self, handshake: Handshake) -> None:
        """TLS is on: forget the EHLO name, identify the peer."""
        self.client_name = ""
        self.state = self.next_state(b"STARTTLS", bare=True)
        await self.policy.identify(handshake)

    @property
    def current(self) -> Transaction:
        """The transaction under way; only for states with a transaction."""
        if self.transaction is None:
            raise RuntimeError(f"in order without a transaction: {self.state}")
        return self.transaction

    def forget_transaction(self) -> None:
        """Drop the transaction under way, if any, and free its draft."""
        if self.transaction is not None:
            self.transaction.abandon()
            self.transaction = None
        self.state = self.state.without_transaction
