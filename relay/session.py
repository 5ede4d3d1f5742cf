"""The inbound SMTP session: the commands by which a peer operator hands mail over.

Every decision is `admission.admit`'s, with the facts at hand; nothing is acknowledged before it is
durable.  What is offered in EHLO is honoured: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME
(RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461), CHUNKING (RFC 3030), LIMITS (RFC 9422).
"""

import ssl
from dataclasses import replace
from typing import Final, cast

from mailstore.steps import reached
from relay import metrics
from relay.address import Address, parse_path
from relay.admission import (
    Attempt,
    HeaderFromPolicy,
    MailboxState,
    Peer,
    Recipient,
    Stage,
    admit,
    foreign_authors,
)
from relay.connection import Connection
from relay.directory import Found
from relay.errors import Disconnected, Reply, SmtpError, StoreDeferred, SyntaxRefused
from relay.limits import LINGER_SECONDS, Pace
from relay.parameters import Chunk, parse_bdat, parse_mail_parameters, parse_rcpt_parameters
from relay.receipts import receipt
from relay.receiving import OVERRUN, Body, Source, receive_chunk, receive_data, skip
from relay.scanning import ScanFacts
from relay.transaction import (
    LocalRecipient,
    SessionFacts,
    Submission,
    Transaction,
    compose,
)

_PROGRESS: Final = 1024  # octets from which on a chunk is mail, and no command among too many

_TOO_MANY_OF_PEER: Final = Reply(421, "4.7.0", "Too many connections with your certificate")
_TOO_MANY_MESSAGES: Final = Reply(421, "4.7.0", "Too many messages on one connection, open another")


class Session(Connection):
    """One connection from a peer operator, and its transactions one after the other."""

    _helo = ""
    _transaction: Transaction | None = None

    @property
    def idle(self) -> bool:
        """Whether no transaction is under way, so that the session can be ended without loss."""
        return self._transaction is None

    def _abandon(self) -> None:
        if self._transaction is not None:
            self._transaction.abandon()
            self._transaction = None

    # Before mail.

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """Greet and say what is offered (RFC 5321 §4.1.1.1), in one write."""
        self._greeted(hostname)
        limits = self._context.limits
        offers = [
            self.hostname,
            f"SIZE {self._context.policy.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "PIPELINING",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "CHUNKING",
            f"LIMITS MAILMAX={limits.max_messages} RCPTMAX={limits.max_recipients}",
        ]
        if not self._peer.tls_version:
            offers.append("STARTTLS")
        await self.push("\r\n".join([*(f"250-{o}" for o in offers[:-1]), f"250 {offers[-1]}"]))

    async def smtp_HELO(self, hostname: str | None) -> None:
        """Greet without extensions; useless before TLS, but not an error (RFC 5321 §4.1.1.1)."""
        self._greeted(hostname)
        await self.push(f"250 {self.hostname}")

    def _greeted(self, hostname: str | None) -> None:
        if not hostname:
            raise SyntaxRefused("Syntax: EHLO hostname")
        self._abandon()
        self._helo = hostname

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """Upgrade to TLS (RFC 3207): what was said before is forgotten on both sides."""
        if arg:
            raise SyntaxRefused("Syntax: STARTTLS")
        if self._peer.tls_version:
            raise SyntaxRefused("TLS is already on", code=503, enhanced="5.5.1")
        plain = self._outbound.transport
        plain.pause_reading()
        self._inbound.clear()
        self._secured = True
        await self.push("220 2.0.0 Ready to start TLS")
        self._outbound.flush()
        try:
            transport = await self.loop.start_tls(
                plain,
                self,
                self._context.tls(),
                server_side=True,
                ssl_handshake_timeout=self._context.limits.handshake_seconds,
                ssl_shutdown_timeout=LINGER_SECONDS,
            )
        except (OSError, ssl.SSLError) as error:
            self._tls_failed(error)
            plain.abort()
            # A failed handshake does not report it.  Not with the error: kept by the stream, its
            # traceback would hold on to this session.
            self.connection_lost(None)
            return
        if transport is None:
            self.connection_lost(None)  # the peer went away during the handshake
            return
        self.transport = self._outbound.transport = transport
        self._inbound.attach(transport)
        self._abandon()
        self._helo = ""
        secured = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        try:
            der = secured.getpeercert(binary_form=True)
        except ValueError as error:  # damaged records right behind the handshake have ended it
            self._tls_failed(error)
            transport.abort()
            return
        await self._identify(secured, der)

    def _tls_failed(self, error: Exception) -> None:
        metrics.HANDSHAKES_FAILED.inc()
        self._reason = "tls"
        self._record("tls.failed", error=str(error))
        self._log.info("tls.failed", error=str(error), address=self._address)

    async def _identify(self, secured: ssl.SSLObject, der: bytes | None) -> None:
        cipher = (secured.cipher() or ("",))[0]
        version = secured.version() or ""
        self._peer = Peer(version, cipher)  # TLS is on, whoever it may be
        found = await self._context.perimeter.identify_peer(der, version, cipher)
        shown = found.certificate
        if shown is not None and not self._context.occupancy.identify(shown.subject):
            self._ending = _TOO_MANY_OF_PEER
        self._peer = found
        name = str(shown.subject) if shown else ""
        self._log = self._log.bind(peer=name or "no certificate")
        if self._transcript is not None:
            if self._counted_name() in self._context.debug_peers:
                self._transcript.remark(f"{version} {cipher}")
            else:
                self._transcript = None
        self._record(
            "tls.started",
            version=version,
            cipher=cipher,
            resumed=bool(secured.session_reused),
            peer=name,
            serial=f"{shown.serial:x}" if shown else "",
            chain=found.chain.status.value if found.chain else "no certificate",
        )

    async def smtp_NOOP(self, _arg: str | None) -> None:
        """Nothing (RFC 5321 §4.1.1.9)."""
        await self.push("250 2.0.0 OK")

    async def smtp_QUIT(self, arg: str | None) -> None:
        """The end (RFC 5321 §4.1.1.10)."""
        if arg:
            raise SyntaxRefused("Syntax: QUIT")
        await self.push("221 2.0.0 Bye")
        self._reason = "quit"
        self._close()

    async def smtp_VRFY(self, _arg: str | None) -> None:
        """Say nothing about who has a mailbox (RFC 5321 §7.3)."""
        await self.push("252 2.5.2 Cannot VRFY, but mail for a mailbox here is accepted")

    async def smtp_EXPN(self, _arg: str | None) -> None:
        """No lists here."""
        raise SyntaxRefused("Command not implemented", code=502, enhanced="5.5.1")

    smtp_AUTH = smtp_HELP = smtp_EXPN  # operators are known by their certificate  # noqa: N815

    # Mail.

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Begin a transaction (RFC 5321 §4.1.1.2): the peer, its certificate, its domain."""
        self._check_greeted()
        if self._transaction is not None:
            raise SyntaxRefused("Sender already given", code=503, enhanced="5.5.1")
        if self._tally.messages >= self._context.limits.max_messages:
            raise Disconnected(_TOO_MANY_MESSAGES)
        sender, rest = parse_path(arg or "", "FROM:")
        parameters = parse_mail_parameters(rest)
        if sender is not None and sender.needs_smtputf8 and not parameters.smtputf8:
            raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
        admit(
            replace(self._attempt(), sender_stated=True, sender=sender, size=parameters.size),
            Stage.PEER | Stage.SENDER,
        )
        self._context.spool.check(parameters.size)
        self._transaction = Transaction(self._context.new_id(), sender, parameters)
        await self.push("250 2.1.0 Sender accepted")

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Add a recipient (RFC 5321 §4.1.1.3): a mailbox of ours, open for mail."""
        transaction = self._current()
        if transaction.body is not None:
            raise SyntaxRefused("RCPT comes before BDAT", code=503, enhanced="5.5.1")
        address, rest = parse_path(arg or "", "TO:")
        parameters = parse_rcpt_parameters(rest)
        if address is None:
            raise SyntaxRefused("A recipient needs an address", code=553, enhanced="5.1.3")
        if address.needs_smtputf8 and not transaction.parameters.smtputf8:
            raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
        if transaction.recipients >= self._context.limits.max_recipients:
            raise SmtpError(Reply(452, "4.5.3", "Too many recipients, send the rest separately"))
        found = await self._find(address, transaction.parameters.size)
        recipient = Recipient(address, found.state)
        admit(replace(self._attempt(), recipient=recipient), Stage.RECIPIENT)
        if found.mailbox_id is not None:
            transaction.add(LocalRecipient(found.mailbox_id, address, parameters))
        await self.push("250 2.1.5 Recipient accepted")

    async def _find(self, address: Address, size: int | None) -> Found:
        """The mailbox of an address; mail for postmaster goes where the configuration says."""
        directory, postmaster = self._context.directory, self._context.postmaster
        found = Found(MailboxState.UNKNOWN)
        if address.domain:
            found = await directory.lookup(address, size)
        if (
            postmaster is not None
            and found.state is MailboxState.UNKNOWN
            and address.local.lower() == "postmaster"
        ):
            return await directory.lookup(postmaster, size)
        return found

    async def smtp_DATA(self, arg: str | None) -> None:
        """Receive the message (RFC 5321 §4.1.1.4); `250` only once it is durable."""
        transaction = self._current()
        if arg:
            raise SyntaxRefused("Syntax: DATA")
        if transaction.body is not None:
            raise SyntaxRefused("The message comes by BDAT", code=503, enhanced="5.5.1")
        if not transaction.recipients:
            raise SyntaxRefused("No valid recipients", code=554, enhanced="5.5.1")
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        body = self._begin_body(transaction)
        await receive_data(Source(self._inbound, body.pace), body)
        await self._finish(transaction, body)

    async def smtp_BDAT(self, arg: str | None) -> None:
        """Receive a chunk of the message (RFC 3030 §2), the last one as DATA's end."""
        try:
            chunk = parse_bdat(arg)
        except SyntaxRefused as error:
            # Where the chunk ends is not known, so nothing after it can be read as a command.
            raise Disconnected(error.reply) from None
        try:
            transaction = self._current()
            if not transaction.recipients:
                raise SyntaxRefused("No valid recipients", code=554, enhanced="5.5.1")
        except SmtpError:
            await self._skip(chunk)
            raise
        body = transaction.body or self._begin_body(transaction)
        if body.exceeds(chunk.size):
            raise Disconnected(body.too_big.reply, f"a chunk of {chunk.size} octets")
        await receive_chunk(Source(self._inbound, body.pace), body, chunk.size, last=chunk.last)
        if chunk.last:
            await self._finish(transaction, body)
        elif body.problem is not None:
            self._abandon()
            raise self._told(body.problem)
        else:
            if chunk.size >= _PROGRESS:
                self._tally.commands -= 1
            await self.push(f"250 2.0.0 {chunk.size} octets received")

    async def _skip(self, chunk: Chunk) -> None:
        if chunk.size > self._context.policy.max_message_bytes * OVERRUN:
            raise Disconnected(Reply(552, "5.3.4", "Chunk over the limit for messages"))
        await skip(Source(self._inbound, Pace(self._context.limits)), chunk.size)

    def _told(self, problem: SmtpError) -> SmtpError:
        """The problem, once the guard over the disk knows of it."""
        if isinstance(problem, StoreDeferred):
            self._context.spool.failed(problem.detail)
        return problem

    def _begin_body(self, transaction: Transaction) -> Body:
        policy = self._context.policy
        draft = self._context.blobs.draft()
        pace = Pace(self._context.limits)
        transaction.body = Body(draft, policy.max_message_bytes, policy.max_header_bytes, pace)
        return transaction.body

    async def _finish(self, transaction: Transaction, body: Body) -> None:
        """The message is here: judge it, make it durable, acknowledge it."""
        reached("message.whole")
        if self._transcript is not None:
            self._transcript.remark(f"{body.draft.size} octets of the message")
        try:
            if body.problem is not None:
                raise self._told(body.problem)
            submission = await self._judge(transaction, body)
            transaction.body = None  # its draft is the intake's from here on
            reached("message.judged")
            await self._context.intake.accept(submission)
        finally:
            self._abandon()
        self._tally.accepted()
        metrics.ACCEPTED.inc()
        size, count = submission.draft.size, len(submission.local)
        self._record(
            "accepted",
            message=submission.id,
            size=size,
            sender=submission.sender.masked if submission.sender else "<>",
            recipients=[one.address.masked for one in submission.local],
            receipt=submission.report.id if submission.report else "",
        )
        self._log.info("accepted", message=submission.id, size=size, recipients=count)
        reached("answer.due")
        await self.push(f"250 2.0.0 Accepted as {submission.id}")
        self._outbound.flush()  # whatever else is pipelined, this reply must not wait
        reached("answer.written")

    async def _judge(self, transaction: Transaction, body: Body) -> Submission:
        attempt = replace(
            self._attempt(),
            sender_stated=True,
            sender=transaction.sender,
            size=body.draft.size,
            header=body.header.facts(),
        )
        admit(attempt, Stage.MESSAGE)
        context, now = self._context, self._context.clock()
        facts = SessionFacts(self.id, self.hostname, self._helo, self._address, self._peer)
        submission = compose(facts, transaction, body.draft, now)
        if attempt.policy.header_from is not HeaderFromPolicy.OFF:
            foreign = foreign_authors(attempt)
            if foreign:
                self._record("header_from.foreign", message=submission.id, domains=foreign[:5])
        await context.scanning.check(body.draft, self._scan_facts(submission))
        report = receipt(
            submission,
            body.header.section,
            self.hostname,
            now,
            context.new_id,
            context.blobs.draft,
        )
        return replace(submission, report=report)

    def _scan_facts(self, submission: Submission) -> ScanFacts:
        return ScanFacts(
            session=self.id,
            message=submission.id,
            address=self._address,
            helo=self._helo,
            sender=str(submission.sender or ""),
            recipients=tuple(str(one.address) for one in submission.local),
        )

    async def smtp_RSET(self, arg: str | None) -> None:
        """Forget the transaction (RFC 5321 §4.1.1.5)."""
        if arg:
            raise SyntaxRefused("Syntax: RSET")
        self._abandon()
        await self.push("250 2.0.0 OK")

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
