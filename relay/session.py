"""The inbound SMTP session: the commands by which a peer operator hands mail over.

Every decision is `admission.admit`'s, with the facts at hand; nothing is acknowledged before it is
durable.  What comes before mail is `relay.opening`'s.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from mailstore.steps import reached
from relay import metrics
from relay.address import Address, parse_path
from relay.admission import Peer, Stage, admit, admit_recipient
from relay.author_rules import noted_authors, seen_authors
from relay.best_effort import best_effort
from relay.errors import Disconnected, Reply, SmtpError, StoreDeferred, SyntaxRefused
from relay.limits import Pace
from relay.opening import Opening
from relay.parameters import Chunk, MailParameters, Notify, parse_bdat, parse_mail_parameters
from relay.perimeter import Snapshot
from relay.quotas import NO_LIMIT, Quota
from relay.rcpt_pipeline import parse_rcpt
from relay.receipts import receipt
from relay.receiving import OVERRUN, Body, Source, receive_chunk, receive_data, skip
from relay.recipient import Recipient
from relay.scanning import ScanFacts
from relay.transaction import (
    LocalRecipient,
    SessionFacts,
    Submission,
    Transaction,
    compose,
)
from whitelist.lookup import WhiteList

_PROGRESS: Final = 1024  # octets from which on a chunk is mail, and no command among too many

_RECIPIENT_ACCEPTED: Final = b"250 2.1.5 Recipient accepted"
_RECIPIENT_ACCEPTED_LINE: Final = _RECIPIENT_ACCEPTED + b"\r\n"

_QUOTA: Final = Reply(
    450, "4.7.1", "Your certificate has had its share of this hour, try again later"
)
_RECEIPTS_QUOTA: Final = Reply(
    450, "4.7.1", "Your certificate has had its share of receipts this hour, try again later"
)
_TOO_MANY_MESSAGES: Final = Reply(421, "4.7.0", "Too many messages on one connection, open another")


@lru_cache(500)  # letters of a size, as reports have, come again and again
def _parse_mail(argument: str) -> tuple[Address | None, MailParameters]:
    address, rest = parse_path(argument, "FROM:")
    return address, parse_mail_parameters(rest)


class Session(Opening):
    """One connection from a peer operator, and its transactions one after the other."""

    _transaction: Transaction | None = None
    _at_mail: Snapshot | None = None  # what held when the transaction began
    # Whom the rules have let through at the last MAIL, and by which list.
    _admitted: tuple[WhiteList | None, Peer | None, str | None] = (None, None, None)
    _room: Quota = NO_LIMIT  # of the hour's, as of the last MAIL

    @property
    def idle(self) -> bool:
        """Whether no transaction is under way, so that the session can be ended without loss."""
        return self._transaction is None

    def _abandon(self) -> None:
        if self._transaction is not None:
            self._transaction.abandon()
            self._transaction = None

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Begin a transaction (RFC 5321 §4.1.1.2): the peer, its certificate, its domain."""
        self._check_greeted()
        if self._transaction is not None:
            raise SyntaxRefused("Sender already given", code=503, enhanced="5.5.1")
        if self._tally.messages >= self._context.limits.max_messages:
            raise Disconnected(_TOO_MANY_MESSAGES)
        sender, parameters = _parse_mail(arg or "")
        if sender is not None and sender.needs_smtputf8 and not parameters.smtputf8:
            raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
        await self._judge_again()
        self._at_mail = self._context.perimeter.snapshot
        self._pipeline.begin()
        self._admit_sender(self._at_mail, sender, parameters.size)
        self._context.spool.check(parameters.size)
        self._room = self._check_quota()
        self._transaction = Transaction(self._context.new_id(), sender, parameters)
        await self.push("250 2.1.0 Sender accepted")

    def _admit_sender(self, at_mail: Snapshot, sender: Address | None, size: int | None) -> None:
        """Return if the peer may send for this sender's domain.  Raises Refused."""
        attempt = self._attempt(at_mail, sender_stated=True, sender=sender, size=size)
        domain = sender.domain if sender else None
        white_list, peer, before = self._admitted
        # All else that these rules look at: what passed once passes as long as they are the same,
        # unless the peer has not passed in between and is taken for a stranger.
        unchanged = white_list is at_mail.white_list and peer is self._peer and domain == before
        if unchanged and self._stranger_clock is None:
            admit(attempt, Stage.MESSAGE)  # of which only the size is known
            return
        self._admit_peer(attempt)
        admit(attempt, Stage.SENDER)
        self._admitted = (at_mail.white_list, self._peer, domain)

    def _check_quota(self) -> Quota:
        """What the peer may still bring within this hour.  Raises SmtpError for nothing."""
        name = self._counted
        if name is None:
            return NO_LIMIT
        room = self._context.quotas.room(name, self.loop.time())
        if 0 in {room.messages, room.recipients}:
            raise SmtpError(_QUOTA, f"of {self._context.quotas.of(name)}")
        return room

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Add a recipient (RFC 5321 §4.1.1.3): a mailbox of ours, open for mail."""
        transaction = self._current()
        if transaction.body is not None:
            raise SyntaxRefused("RCPT comes before BDAT", code=503, enhanced="5.5.1")
        address, parameters = parse_rcpt(arg or "")
        if address is None:
            raise SyntaxRefused("A recipient needs an address", code=553, enhanced="5.1.3")
        if address.needs_smtputf8 and not transaction.parameters.smtputf8:
            raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
        if transaction.recipients >= self._most_recipients:
            raise SmtpError(Reply(452, "4.5.3", "Too many recipients, send the rest separately"))
        if self._room.receipts == 0 and Notify.SUCCESS in (parameters.notify or ()):
            raise SmtpError(_RECEIPTS_QUOTA)
        size = transaction.parameters.size
        found = await self._pipeline.find(address, size, self._tally.commands)
        white_list = self._at_mail.white_list if self._at_mail is not None else None
        admit_recipient(Recipient(address, found.state), self._peer, white_list)
        if found.mailbox_id is not None:
            transaction.add(LocalRecipient(found.mailbox_id, address, parameters))
        await self.push(_RECIPIENT_ACCEPTED)
        if self._transcript is None and self._ending is None and self._room.receipts != 0:
            self._accept_ahead(transaction)

    def _accept_ahead(self, transaction: Transaction) -> None:
        """Accept recipients that are pipelined behind this one, up to the first with anything odd.

        In hundreds they would else each pass through all that a command may need.
        """
        limits, tally = self._context.limits, self._tally
        room = min(
            self._most_recipients - transaction.recipients, limits.max_commands - tally.commands
        )
        if self._outbound.blocked or room <= 0:
            return
        recipients = self._pipeline.take_known(room)
        for one in recipients:
            transaction.add(one)
        tally.commands += len(recipients)
        self._say(_RECIPIENT_ACCEPTED_LINE * len(recipients))

    @property
    def _most_recipients(self) -> int:
        most, left = self._context.limits.max_recipients, self._room.recipients
        return most if left is None else min(most, left)

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

    async def _next_line(self) -> bytes:
        """The next command; between the chunks of a message it is part of the message's time."""
        body = self._transaction.body if self._transaction is not None else None
        if body is None:
            return await super()._next_line()
        return await Source(self._inbound, body.pace).readline(self._context.limits.idle_seconds)

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
        transaction.body = Body(
            draft,
            policy.max_message_bytes,
            policy.max_header_bytes,
            pace,
            report=transaction.sender is None,
        )
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
        self._count_in_quota(submission)
        with best_effort:
            self._tell_accepted(submission)
        reached("answer.due")
        await self.push(f"250 2.0.0 Accepted as {submission.id}")
        self._outbound.flush()  # whatever else is pipelined, this reply must not wait
        reached("answer.written")

    def _count_in_quota(self, submission: Submission) -> None:
        if self._counted is not None:
            self._context.quotas.took(
                self._counted,
                self.loop.time(),
                recipients=len(submission.local),
                receipt=submission.report is not None,
            )

    def _tell_accepted(self, submission: Submission) -> None:
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

    async def _judge(self, transaction: Transaction, body: Body) -> Submission:
        attempt = self._attempt(
            sender_stated=True,
            sender=transaction.sender,
            size=body.draft.size,
            header=body.header.facts(),
            report=body.report,
        )
        seen = seen_authors(attempt)
        if seen:
            ours = await self._context.directory.own_domains()
            attempt = replace(attempt, own_authors=tuple(one for one in seen if one in ours))
        admit(attempt, Stage.MESSAGE)
        context, now = self._context, self._context.clock()
        facts = SessionFacts(self.id, self.hostname, self._helo, self._address, self._peer)
        submission = compose(facts, transaction, body.draft, now)
        if seen and (noted := noted_authors(attempt)):
            self._record("header_from.foreign", message=submission.id, domains=noted)
            self._log.info("header_from.foreign", message=submission.id, domains=noted)
        if context.scanning.on:
            await context.scanning.check(body.draft, self._scan_facts(submission))
        report = receipt(
            submission,
            body.header.section,
            self.hostname,
            now,
            context.new_id,
            context.blobs.draft,
        )
        return submission if report is None else replace(submission, report=report)

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
        if not self._has_greeted:
            raise SyntaxRefused("Send EHLO first", code=503, enhanced="5.5.1")

    def _current(self) -> Transaction:
        self._check_greeted()
        if self._transaction is None:
            raise SyntaxRefused("Send MAIL first", code=503, enhanced="5.5.1")
        return self._transaction
