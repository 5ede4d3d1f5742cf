"""The inbound SMTP session: aiosmtpd's command loop with the relay's own commands.

aiosmtpd reads and dispatches commands; what cannot carry this load or these rules is replaced here:
EHLO in one write, STARTTLS through the event loop's own `start_tls`, parameters by our grammar,
DATA streamed to the store.  Every decision is `admission.admit`'s.  Log lines carry the session's
id and never a subject, a body or a patient's identifier.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from dataclasses import replace
from typing import Final, cast

import structlog
from aiosmtpd.smtp import SMTP, syntax

from mailstore.drafts import Draft
from relay import metrics
from relay.address import parse_path
from relay.admission import (
    Attempt,
    HeaderFromPolicy,
    Peer,
    Recipient,
    Refused,
    Stage,
    admit,
    foreign_authors,
)
from relay.context import SessionContext
from relay.errors import Reply, SmtpError, StoreDeferred, SyntaxRefused
from relay.headers import TraceFacts, received_field
from relay.parameters import parse_mail_parameters, parse_rcpt_parameters
from relay.receiving import receive
from relay.streams import MAX_COMMAND_LINE, InboundBuffer, ReplyWriter
from relay.transaction import LocalRecipient, Submission, Transaction

# aiosmtpd logs every command line, patients' addresses included.
logging.getLogger("mail.log").disabled = True

_log = structlog.get_logger(__name__)

# aiosmtpd's own replies lack enhanced codes (RFC 2034 §4 wants one on each): by code.
_ENHANCED: Final = {"500": "5.5.2", "501": "5.5.4", "502": "5.5.1", "221": "2.0.0", "250": "2.0.0"}


class Session(SMTP):
    """One connection from a peer operator."""

    command_size_limit = MAX_COMMAND_LINE

    def __init__(self, context: SessionContext) -> None:
        # aiosmtpd keeps this on the class, where sessions would change each other's limits.
        self.command_size_limits = defaultdict(lambda: MAX_COMMAND_LINE)
        super().__init__(
            object(),
            data_size_limit=None,
            enable_SMTPUTF8=True,
            hostname=context.hostname,
            ident="ESMTP MSSante",
            timeout=context.limits.idle_seconds,
            loop=asyncio.get_running_loop(),
        )
        self._context = context
        self.id = context.new_id()
        self._inbound = InboundBuffer()
        self._peer = Peer()
        self._address = ""
        self._helo = ""
        self._transaction: Transaction | None = None
        self._log = _log.bind(session=self.id)

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the session, or refuse it while the relay is full or stopping."""
        stream = cast("asyncio.Transport", transport)
        self._inbound.attach(stream)
        self._outbound = ReplyWriter(stream)
        self._address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        super().connection_made(transport)
        self._context.opened(self)
        metrics.SESSIONS.inc()
        self._log.info("session.opened", address=self._address)

    def _cb_client_connected(self, *_: object) -> None:
        # aiosmtpd asks no more of them than these two offer.
        self._reader = cast("asyncio.StreamReader", self._inbound)
        self._writer = cast("asyncio.StreamWriter", self._outbound)

    def data_received(self, data: bytes) -> None:
        """Octets from the peer."""
        self._inbound.feed(data)

    def eof_received(self) -> bool:
        """The peer stopped sending; what is here already is still answered where TCP allows."""
        self._inbound.feed_eof()
        return not self._peer.tls_version

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
        self._context.closed(self)
        self._log.info("session.closed")

    # Replies.

    async def push(self, status: str | bytes) -> None:
        """Send one reply, completing aiosmtpd's own with an enhanced code."""
        line = status.decode() if isinstance(status, bytes) else status
        code, _, text = line.partition(" ")
        if code in _ENHANCED and text[:2] not in {"2.", "5."}:
            line = f"{code} {_ENHANCED[code]} {text}"
        self._outbound.write(line.encode("utf-8", "replace") + b"\r\n")
        await self._outbound.drain()

    async def handle_exception(self, error: Exception) -> str:
        """The one place where an error becomes a reply."""
        if not isinstance(error, SmtpError):
            self._log.error("session.error", exc_info=error)
            error = StoreDeferred(type(error).__name__)
        rule = error.rule if isinstance(error, Refused) else type(error).__name__
        metrics.REFUSED.labels(rule, str(error.reply.code)).inc()
        self._log.info("refused", rule=rule, reply=str(error.reply), detail=error.detail)
        return f"{error.reply} [session {self.id}]"

    def _timeout_cb(self) -> None:
        self._log.info("session.timeout")
        self.hang_up(Reply(421, "4.4.2", "Idle for too long"))

    def hang_up(self, reply: Reply) -> None:
        """Say why and close the connection, unless it is closing already."""
        if self._outbound.transport.is_closing():
            return
        self._outbound.write(f"{reply} [session {self.id}]\r\n".encode())
        self._outbound.close()

    @property
    def idle(self) -> bool:
        """Whether no transaction is under way, so that the session can be ended without loss."""
        return self._transaction is None

    # Commands.

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, hostname: str | None) -> None:
        """Greet and say what is offered (RFC 5321 §4.1.1.1), in one write."""
        self._greeted(hostname)
        offers = [
            self.hostname,
            f"SIZE {self._context.policy.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "PIPELINING",
            "ENHANCEDSTATUSCODES",
        ]
        if not self._peer.tls_version:
            offers.append("STARTTLS")
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        self._outbound.write("\r\n".join(lines).encode() + b"\r\n")
        await self._outbound.drain()

    @syntax("HELO hostname")
    async def smtp_HELO(self, hostname: str | None) -> None:
        """Greet without extensions; useless before TLS, but not an error (RFC 5321 §4.1.1.1)."""
        self._greeted(hostname)
        self._outbound.write(f"250 {self.hostname}\r\n".encode())
        await self._outbound.drain()

    def _greeted(self, hostname: str | None) -> None:
        if not hostname:
            raise SyntaxRefused("Syntax: EHLO hostname")
        self._transaction = None
        self._helo = hostname

    @syntax("STARTTLS")
    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """Upgrade to TLS (RFC 3207): what was said before is forgotten on both sides."""
        if arg:
            raise SyntaxRefused("Syntax: STARTTLS")
        if self._peer.tls_version:
            raise SyntaxRefused("TLS is already on", code=503, enhanced="5.5.1")
        plain = self._outbound.transport
        plain.pause_reading()
        self._inbound.clear()
        self._outbound.write(b"220 2.0.0 Ready to start TLS\r\n")
        try:
            transport = await self.loop.start_tls(
                plain,
                self,
                self._context.tls(),
                server_side=True,
                ssl_handshake_timeout=self._context.limits.handshake_seconds,
            )
        except (OSError, ssl.SSLError) as error:
            metrics.HANDSHAKES_FAILED.inc()
            self._log.info("tls.failed", error=str(error), address=self._address)
            plain.abort()
            self.connection_lost(error)  # a failed handshake does not report it
            return
        if transport is None:
            self.connection_lost(None)  # the peer went away during the handshake
            return
        self.transport = self._outbound.transport = transport
        self._inbound.attach(transport)
        self._transaction = None
        self._helo = ""
        secured = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        cipher = (secured.cipher() or ("",))[0]
        version = secured.version() or ""
        self._peer = Peer(version, cipher)  # TLS is on, whoever it may be
        self._peer = await self._context.perimeter.identify_peer(
            secured.getpeercert(binary_form=True), version, cipher
        )
        shown = self._peer.certificate
        self._log = self._log.bind(peer=str(shown.subject) if shown else "no certificate")
        self._log.info("tls.started", version=self._peer.tls_version, cipher=cipher)

    @syntax("MAIL FROM: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        """Begin a transaction (RFC 5321 §4.1.1.2): the peer, its certificate, its domain."""
        self._check_greeted()
        if self._transaction is not None:
            raise SyntaxRefused("Sender already given", code=503, enhanced="5.5.1")
        sender, rest = parse_path(_text(arg), "FROM:")
        parameters = parse_mail_parameters(rest)
        if sender is not None and sender.needs_smtputf8 and not parameters.smtputf8:
            raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
        admit(
            replace(self._attempt(), sender_stated=True, sender=sender, size=parameters.size),
            Stage.PEER | Stage.SENDER,
        )
        self._transaction = Transaction(sender, parameters)
        await self.push("250 2.1.0 Sender accepted")

    @syntax("RCPT TO: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        """Add a recipient (RFC 5321 §4.1.1.3): a mailbox of ours, open for mail."""
        transaction = self._current()
        address, rest = parse_path(_text(arg), "TO:")
        parse_rcpt_parameters(rest)
        if address is None:
            raise SyntaxRefused("A recipient needs an address", code=553, enhanced="5.1.3")
        if address.needs_smtputf8 and not transaction.parameters.smtputf8:
            raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
        if transaction.recipients >= self._context.limits.max_recipients:
            raise SmtpError(Reply(452, "4.5.3", "Too many recipients, send the rest separately"))
        found = await self._context.directory.lookup(address)
        recipient = Recipient(address, found.state)
        admit(replace(self._attempt(), recipient=recipient), Stage.RECIPIENT)
        if found.mailbox_id is not None:
            transaction.local[found.mailbox_id] = LocalRecipient(found.mailbox_id, address)
        await self.push("250 2.1.5 Recipient accepted")

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        """Receive the message (RFC 5321 §4.1.1.4); `250` only once it is durable."""
        transaction = self._current()
        if arg:
            raise SyntaxRefused("Syntax: DATA")
        if not transaction.recipients:
            raise SyntaxRefused("No valid recipients", code=554, enhanced="5.5.1")
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            submission = await self._take_message(transaction)
            await self._context.intake.accept(submission)  # owns the draft from here on
        finally:
            self._transaction = None
        metrics.ACCEPTED.inc()
        self._log.info(
            "accepted",
            message=submission.id,
            size=submission.draft.size,
            recipients=len(submission.local),
        )
        await self.push(f"250 2.0.0 Accepted as {submission.id}")

    async def _take_message(self, transaction: Transaction) -> Submission:
        draft = self._context.blobs.draft()
        try:
            header = await receive(
                self._inbound, draft, self._context.policy.max_message_bytes, self._reset_timeout
            )
            attempt = replace(
                self._attempt(),
                sender_stated=True,
                sender=transaction.sender,
                size=draft.size,
                header=header,
            )
            admit(attempt, Stage.MESSAGE)
        except BaseException:
            draft.discard()
            raise
        submission = self._submission(transaction, draft)
        if attempt.policy.header_from is not HeaderFromPolicy.OFF:
            foreign = foreign_authors(attempt)
            if foreign:
                self._log.warning("header_from.foreign", message=submission.id, domains=foreign[:5])
        return submission

    @syntax("RSET")
    async def smtp_RSET(self, arg: str | None) -> None:
        """Forget the transaction (RFC 5321 §4.1.1.5)."""
        if arg:
            raise SyntaxRefused("Syntax: RSET")
        self._transaction = None
        await self.push("250 2.0.0 OK")

    @syntax("VRFY <address>")
    async def smtp_VRFY(self, _arg: str | None) -> None:
        """Say nothing about who has a mailbox (RFC 5321 §7.3)."""
        await self.push("252 2.5.2 Cannot VRFY, but mail for a mailbox here is accepted")

    async def smtp_EXPN(self, _arg: str | None) -> None:
        """No lists here."""
        raise SyntaxRefused("Command not implemented", code=502, enhanced="5.5.1")

    smtp_AUTH = smtp_HELP = smtp_EXPN  # operators are known by their certificate  # noqa: N815

    def _check_greeted(self) -> None:
        if not self._peer.tls_version:
            admit(self._attempt(), Stage.PEER)
        if not self._helo:
            raise SyntaxRefused("Send EHLO first", code=503, enhanced="5.5.1")

    def _current(self) -> Transaction:
        self._check_greeted()
        if self._transaction is None:
            raise SyntaxRefused("Send MAIL first", code=503, enhanced="5.5.1")
        return self._transaction

    def _attempt(self) -> Attempt:
        snapshot = self._context.perimeter.snapshot
        return Attempt(self._peer, self._context.policy, snapshot.white_list, snapshot.problem)

    def _submission(self, transaction: Transaction, draft: Draft) -> Submission:
        now, message = self._context.clock(), self._context.new_id()
        shown = self._peer.certificate
        peer = str(shown.subject) if shown else ""
        trace = TraceFacts(
            helo=self._helo,
            address=self._address,
            hostname=self.hostname,
            protocol="UTF8SMTPS" if transaction.parameters.smtputf8 else "ESMTPS",
            message=message,
            session=self.id,
            at=now,
            tls_version=self._peer.tls_version,
            cipher=self._peer.cipher,
            peer=peer,
        )
        return Submission(
            id=message,
            session=self.id,
            peer=peer,
            sender=transaction.sender,
            received_at=now,
            trace=received_field(trace),
            draft=draft,
            parameters=transaction.parameters,
            local=tuple(transaction.local.values()),
        )


def _text(arg: str | None) -> str:
    """A command's argument as text.  Raises SyntaxRefused for octets that are not UTF-8."""
    try:
        (arg or "").encode()
    except UnicodeEncodeError:
        raise SyntaxRefused("Argument is not UTF-8", code=501, enhanced="5.5.2") from None
    return arg or ""
