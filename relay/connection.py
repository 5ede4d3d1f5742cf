"""One inbound connection: its stream, its replies, its clock and its limits; no mail yet.

aiosmtpd finds the commands (`smtp_*` methods) and owns the task that reads them.  What cannot carry
this load or these rules is replaced: the reading of lines (bare CR, bare LF and NUL are refused,
nothing read before STARTTLS survives it), replies (grouped as RFC 2920 §3.2 asks, one error tree,
the session's id), time (every wait for the peer has its limit, our own work has none) and the end
(said with `421`, then closed, and aborted where the peer does not listen).
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, cast

import structlog
from aiosmtpd.smtp import SMTP

from relay import metrics
from relay.admission import Peer, Refused
from relay.context import SessionContext
from relay.errors import Disconnected, Reply, SmtpError, StoreDeferred, SyntaxRefused
from relay.limits import LINGER_SECONDS
from relay.masking import mask
from relay.rcpt_pipeline import RcptPipeline
from relay.replies import refusal_line
from relay.strangers import shortened
from relay.streams import InboundBuffer, ReplyWriter
from relay.transcript import Transcript
from whitelist.names import DistinguishedName

# aiosmtpd logs every command line, patients' addresses included.
logging.getLogger("mail.log").disabled = True

_log = structlog.get_logger(__name__)

_COMMANDS: Final[dict[type, list[str]]] = {}  # names of the methods of each class of sessions

_QUIET_SECONDS: Final = 0.2  # after which a peer is taken to have sent all that was under way

_IDLE: Final = Reply(421, "4.4.2", "Idle for too long")
_TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors since the last message accepted")
_TOO_MANY_COMMANDS: Final = Reply(421, "4.7.0", "Too many commands since the last message accepted")


@dataclass(slots=True)
class Tally:
    """What a session has done so far; `errors` and `commands` since its last message accepted."""

    messages: int = 0
    errors: int = 0
    commands: int = 0

    def accepted(self) -> None:
        """A message was accepted."""
        self.messages, self.errors, self.commands = self.messages + 1, 0, 0


class _NoHooks:
    """A handler for aiosmtpd, which looks through its members for each session and finds none."""

    __slots__ = ()

    def __dir__(self) -> list[str]:
        return []


_NO_HOOKS: Final = _NoHooks()


class Connection(SMTP):
    """A connection from a peer, from its opening to its end."""

    def __init__(self, context: SessionContext) -> None:
        super().__init__(
            _NO_HOOKS,
            data_size_limit=None,
            enable_SMTPUTF8=True,
            hostname=context.hostname,
            ident="ESMTP MSSante",
            loop=asyncio.get_running_loop(),
        )
        self._context = context
        self.id = context.new_id()
        self._inbound = InboundBuffer(self._before_wait)
        self._pipeline = RcptPipeline(self._inbound, context.rcpt_lines)
        self._peer = Peer()
        self._counted: DistinguishedName | None = None  # whose place it takes, proven by its chain
        self._known = False  # a peer of the white list, whose events are never summed up
        self._opening_told = False
        self._secured = False
        self._address = ""
        self._tally = Tally()
        self._linger: asyncio.TimerHandle | None = None
        self._ending: Reply | None = None  # said to the next command, in place of obeying it
        self._reason = "peer"  # who ended the session, for the journal
        self._transcript = Transcript() if context.debug_peers else None
        self._log = _log.bind(session=self.id)

    def __dir__(self) -> list[str]:
        """The commands alone: aiosmtpd looks through all members of each session for them."""
        kind = type(self)
        if kind not in _COMMANDS:
            _COMMANDS[kind] = [name for name in dir(kind) if name.startswith("smtp_")]
        return _COMMANDS[kind]

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session."""
        stream = cast("asyncio.Transport", transport)
        self._inbound.attach(stream)
        self._outbound = ReplyWriter(stream)
        # aiosmtpd asks no more of them than these two offer.
        self._reader = cast("asyncio.StreamReader", self._inbound)
        self._writer = cast("asyncio.StreamWriter", self._outbound)
        # Without a callback asyncio makes no StreamWriter.  Nothing would keep it, and since Python
        # 3.13 a StreamWriter that is dropped closes its transport (CPython issue 114914).
        self._client_connected_cb = self._strong_reader = None
        self._address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        super().connection_made(transport)
        self._greeting_ends = self.loop.time() + self._context.limits.greeting_seconds
        self._context.occupancy.enter(self, self._address)
        if not self._context.quiet:
            metrics.SESSIONS.inc()
        metrics.OPEN.inc()
        self._opening_told = self._record("session.opened", address=self._address)

    def data_received(self, data: bytes | memoryview) -> None:
        """Octets from the peer."""
        self._inbound.feed(data)

    def eof_received(self) -> bool:
        """The peer stopped sending; what is here already is still answered where TCP allows."""
        self._inbound.feed_eof()
        return not self._secured  # TLS has no half of a connection

    def pause_writing(self) -> None:
        """The peer does not read its replies."""
        super().pause_writing()
        self._outbound.pause()

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        self._outbound.resume()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone: whatever was not acknowledged is forgotten."""
        if self.transport is None:
            return
        self._outbound.resume()
        super().connection_lost(error)
        if self._linger is not None:
            self._linger.cancel()
        metrics.OPEN.dec()
        self._context.occupancy.leave(self, self._address, self._counted)
        self._keep_transcript()
        self._record("session.closed", messages=self._tally.messages, ended_by=self._reason)
        if self._handler_coroutine is not None:
            self._handler_coroutine.add_done_callback(self._let_go)

    def _let_go(self, _: object) -> None:
        """Cut the circles of references, so that memory comes back now and not some day.

        aiosmtpd holds the methods of each session in tables of that session.
        """
        self._smtp_methods.clear()
        self._auth_methods.clear()
        self._handler_coroutine = self._timeout_handle = self._linger = None
        self._inbound.detach()
        del self._reader, self._writer, self._outbound

    # The journal.

    def _record(self, event: str, **facts: object) -> bool:
        """Note an event of this session; False if it is a stranger's and only counted."""
        journal, rule = self._context.journal, str(facts.get("rule", ""))
        if self._context.quiet:
            return False
        if self._known:
            journal.record(event, session=self.id, **facts)
        elif self._context.strangers.may_tell(self._address, event, rule):
            journal.record_stranger(event, session=self.id, **shortened(facts))
        else:
            return False
        return True

    def _tell(self, event: str, **facts: object) -> None:
        """The same, in the log too."""
        if self._record(event, **facts):
            self._log.info(event, **(facts if self._known else shortened(facts)))

    def _became_known(self) -> None:
        """The peer has turned out to be one of the white list, in the handshake or later."""
        self._known = True
        if self._opening_told:
            self._context.strangers.is_known(self._address)
        else:
            self._record("session.opened", address=self._address)

    def _keep_transcript(self) -> None:
        """Hand the transcript over; without a name to go by it is dropped."""
        if self._transcript is None:
            return
        lines = self._transcript.take()
        if lines and self._counted in self._context.debug_peers:
            self._record("transcript", lines=lines)

    # Time.

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Arm the clock of a wait for the peer; aiosmtpd's own call arms the first."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        seconds = duration or self._context.limits.idle_seconds
        self._timeout_handle = self.loop.call_later(seconds, self._timeout_cb)

    def _stop_clock(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()

    def _timeout_cb(self) -> None:
        self.hang_up(_IDLE)

    def hang_up(self, reply: Reply, *, at_once: bool = False) -> None:
        """Say why and close the connection, unless it is closing already."""
        if self._outbound.transport.is_closing():
            return
        self._cut(reply, "")
        if at_once or (self._secured and not self._peer.tls_version):
            # In the middle of a handshake nothing can be said.
            self._outbound.transport.abort()
            return
        self._say(refusal_line(reply, self.id))
        self._close()

    def drop(self) -> None:
        """End the connection now, whatever the peer has not taken yet."""
        self._outbound.transport.abort()

    def _cut(self, reply: Reply, detail: str) -> None:
        self._reason = "us"
        metrics.CUT.labels(f"{reply.code} {reply.enhanced}").inc()
        self._tell("session.cut", reply=str(reply), detail=detail, address=self._address)

    def _close(self) -> None:
        """Close after the last reply has left; abort where the peer does not take it."""
        transport = self._outbound.transport
        self._outbound.close()
        self._linger = self.loop.call_later(LINGER_SECONDS, transport.abort)

    async def _swallow(self) -> None:
        """Pass over what the peer is still sending: closed before it, TCP would lose our reply."""
        self._outbound.flush()
        end = self.loop.time() + LINGER_SECONDS
        while (left := end - self.loop.time()) > 0:
            try:
                await self._inbound.wait(min(left, _QUIET_SECONDS))
            except TimeoutError:
                return
            self._inbound.take()

    @property
    def idle(self) -> bool:
        """Whether the session can be ended without loss."""
        return True

    # Commands in, replies out.

    def _before_wait(self) -> None:
        self._outbound.flush()

    def _say(self, octets: bytes) -> None:
        if self._transcript is not None:
            self._transcript.server(octets)
            if self._transcript.full and self._peer.tls_version:
                self._keep_transcript()
        self._outbound.write(octets)

    async def push(self, status: str | bytes) -> None:
        """Send one reply; it leaves with others where commands are pipelined."""
        line = status if isinstance(status, bytes) else status.encode("ascii", "replace")
        self._say(line + b"\r\n")
        if self._outbound.blocked:
            await self._let_read()

    async def _let_read(self) -> None:
        self._reset_timeout()
        await self._outbound.drain()
        self._stop_clock()

    async def _handle_client(self) -> None:
        """Obey commands until the connection ends."""
        await self.push(f"220 {self.hostname} {self.__ident__}")
        try:
            while not self._outbound.transport.is_closing():
                verb = b""
                try:
                    line = self._inbound.pipelined()
                    if line is None:
                        line = await self._next_line()
                    verb = line.partition(b" ")[0].upper()
                    await self._obey(verb, line[len(verb) :].strip(b" \t"), line)
                except ConnectionError:
                    self._outbound.transport.abort()
                except Exception as error:
                    await self._refuse(verb, error)
        finally:
            self._abandon()

    async def _next_line(self) -> bytes:
        self._arm_for_command()
        line = await self._inbound.readline()
        self._stop_clock()
        return line

    def _abandon(self) -> None:
        """The session is over: give back what a transaction under way holds."""

    def _arm_for_command(self) -> None:
        patience = self._context.limits.idle_seconds
        if not self._peer.tls_version:
            patience = min(patience, max(self._greeting_ends - self.loop.time(), 0.001))
        self._reset_timeout(patience)

    async def _obey(self, verb: bytes, argument: bytes, line: bytes) -> None:
        if self._transcript is not None:
            self._transcript.client(line)
        self._tally.commands += 1
        limits = self._context.limits
        if self._ending is not None:
            raise Disconnected(self._ending)
        if self._tally.errors >= limits.max_errors:
            raise Disconnected(_TOO_MANY_ERRORS)
        if self._tally.commands > limits.max_commands:
            raise Disconnected(_TOO_MANY_COMMANDS)
        method = self._smtp_methods.get(verb.decode("ascii", "replace"))
        if method is None:
            raise SyntaxRefused("Command not recognised", code=500, enhanced="5.5.2")
        try:
            text = argument.decode()
        except UnicodeDecodeError:
            raise SyntaxRefused("Argument is not UTF-8", code=501, enhanced="5.5.2") from None
        await method(text or None)

    async def _refuse(self, verb: bytes, error: Exception) -> None:
        """The one place where an error becomes a reply."""
        if not isinstance(error, SmtpError):
            # Where it left the stream is unknown, so nothing after it may be read as a command.
            if self._record("session.error", error=type(error).__name__):
                self._log.error("session.error", exc_info=error)
            error = Disconnected(StoreDeferred("").reply, type(error).__name__)
        rule, presented = "", ""
        if isinstance(error, Refused):
            rule, presented = error.rule, error.presented
        metrics.REFUSED.labels(rule or type(error).__name__, str(error.reply.code)).inc()
        if error.reply.permanent and verb != b"RCPT":
            # A list of recipients with many unknown ones must not end a session again and again.
            self._tally.errors += 1
        facts = {
            "command": verb[:10].decode("ascii", "replace"),
            "rule": rule or type(error).__name__,
            "reply": mask(str(error.reply)),
            "detail": mask(error.detail),
        }
        self._tell("refused", **facts)
        self._say(refusal_line(error.reply, self.id, rule, presented))
        if isinstance(error, Disconnected):
            self._cut(error.reply, error.detail)
            await self._swallow()
            self._close()
        elif self._outbound.blocked:
            await self._let_read()
