"""Commands that transfer mail: MAIL, RCPT, DATA, BDAT and RSET.

The session's table has already checked their order (`relay.server.states`); the policy decides
who may send to whom.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from foundation.failpoints import failpoint
from relay.acceptance.message import LocalRecipient
from relay.connection.limits import Pace
from relay.policy.recipient import Recipient
from relay.server.data import (
    OVERRUN,
    MessageReceiver,
    PacedReader,
    receive_chunk,
    receive_data,
    skip,
)
from relay.server.end_of_data import take_message
from relay.server.rcpt_pipeline import parse_rcpt
from relay.server.session import Handler, Session
from relay.server.states import BDAT_LAST
from relay.server.transaction import SessionFacts, Transaction
from relay.smtp.address import SmtpAddress, parse_path
from relay.smtp.errors import Disconnected, SmtpError, StoreDeferred, SyntaxRefused
from relay.smtp.parameters import MailParameters, parse_bdat, parse_mail_parameters
from relay.smtp.reply import Acknowledged, Reply, reply_lines

_PROGRESS: Final = 1024  # octets: a chunk of this size does not count as a command

_OK: Final = Reply(250, "2.0.0", "OK")
_BEGIN_MESSAGE: Final = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
_SENDER_ACCEPTED: Final = Reply(250, "2.1.0", "Sender accepted")
_RECIPIENT_ACCEPTED: Final = Reply(250, "2.1.5", "Recipient accepted")
_RECIPIENT_LINE: Final = reply_lines(_RECIPIENT_ACCEPTED)
_TOO_MANY_MESSAGES: Final = Reply(421, "4.7.0", "Too many messages on one connection, open another")


@lru_cache(500)  # messages of equal size, such as DSNs, come again and again
def _parse_mail(argument: str) -> tuple[SmtpAddress | None, MailParameters]:
    address, rest = parse_path(argument, "FROM:")
    return address, parse_mail_parameters(rest)


async def mail(session: Session, argument: str) -> Reply:
    """Begin a transaction (RFC 5321 §4.1.1.2)."""
    context, policy = session.context, session.policy
    if session.tally.messages >= context.limits.max_messages:
        raise Disconnected(_TOO_MANY_MESSAGES)
    sender, parameters = _parse_mail(argument)
    if sender is not None and sender.needs_smtputf8 and not parameters.smtputf8:
        raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
    await policy.admit_sender(sender, parameters.size)
    context.disk_guard.check(parameters.size)
    policy.grant_quota()
    session.pipeline.begin()
    begun = asyncio.get_running_loop().time()
    session.transaction = Transaction(context.new_id(), sender, parameters, begun)
    return _SENDER_ACCEPTED


async def rcpt(session: Session, argument: str) -> Reply:
    """Add a recipient (RFC 5321 §4.1.1.3)."""
    transaction, policy = session.current, session.policy
    address, parameters = parse_rcpt(argument)
    if address is None:
        raise SyntaxRefused("A recipient needs an address", code=553, enhanced="5.1.3")
    if address.needs_smtputf8 and not transaction.parameters.smtputf8:
        raise SyntaxRefused("Non-ASCII address without SMTPUTF8", code=553, enhanced="5.6.7")
    if transaction.recipients >= policy.max_recipients:
        raise SmtpError(Reply(452, "4.5.3", "Too many recipients, send the rest separately"))
    policy.admit_receipt(parameters)
    size = transaction.parameters.size
    found = await session.pipeline.find(address, size, session.tally.commands)
    policy.admit_recipient(Recipient(address, found.state, found.reports_only))
    if found.mailbox_id is not None:
        transaction.add(LocalRecipient(found.mailbox_id, address, parameters))
    if policy.accepts_ahead and not session.journal.transcribed:
        _accept_ahead(session, transaction)
    return _RECIPIENT_ACCEPTED


def _accept_ahead(session: Session, transaction: Transaction) -> None:
    """Accept pipelined recipients after this one, up to the first that needs a check."""
    room = min(session.policy.max_recipients - transaction.recipients, session.tally.left)
    if session.outbound.blocked or room <= 0:
        return
    recipients = session.pipeline.take_known(room)
    for one in recipients:
        transaction.add(one)
    session.tally.commands += len(recipients)
    session.write(_RECIPIENT_LINE * len(recipients))


async def data(session: Session, _argument: str) -> Reply:
    """Receive the message (RFC 5321 §4.1.1.4); `250` only once it is durable."""
    transaction = session.current
    await session.say(_BEGIN_MESSAGE)
    body = _begin_body(session, transaction)
    await receive_data(PacedReader(session.inbound, body.pace), body)
    return await _end_of_data(session, transaction, body)


async def bdat(session: Session, argument: str) -> Reply:
    """Receive a chunk of the message (RFC 3030 §2); the last chunk ends it like DATA.

    The octets of a chunk that is out of order are read and dropped.
    """
    try:
        chunk = parse_bdat(argument)
    except SyntaxRefused as error:
        # The end of the chunk is not known, so nothing after it can be read as a command.
        raise Disconnected(error.reply) from None
    try:
        following = session.next_state(BDAT_LAST if chunk.last else b"BDAT", bare=False)
    except SmtpError:
        await _skip(session, chunk.size)
        raise
    transaction = session.current
    body = transaction.body or _begin_body(session, transaction)
    if body.exceeds(chunk.size):
        raise Disconnected(body.too_big.reply, f"a chunk of {chunk.size} octets")
    await receive_chunk(PacedReader(session.inbound, body.pace), body, chunk.size, last=chunk.last)
    if chunk.last:
        return await _end_of_data(session, transaction, body)
    if body.problem is not None:
        session.forget_transaction()
        raise _report_to_guard(session, body.problem)
    if chunk.size >= _PROGRESS:
        session.tally.commands -= 1
    session.state = following
    return Reply(250, "2.0.0", f"{chunk.size} octets received")


async def _skip(session: Session, octets: int) -> None:
    if octets > session.context.policy.max_message_bytes * OVERRUN:
        raise Disconnected(Reply(552, "5.3.4", "Chunk over the limit for messages"))
    await skip(PacedReader(session.inbound, Pace(session.context.limits)), octets)


def _begin_body(session: Session, transaction: Transaction) -> MessageReceiver:
    context, policy = session.context, session.context.policy
    transaction.body = MessageReceiver(
        context.blobs.draft(),
        policy.max_message_bytes,
        policy.max_header_bytes,
        Pace(context.limits),
        report=transaction.sender is None,
    )
    return transaction.body


async def _end_of_data(session: Session, transaction: Transaction, body: MessageReceiver) -> Reply:
    """Judge a completely received message, make it durable, acknowledge it."""
    failpoint("message.whole")
    journal, policy = session.journal, session.policy
    journal.remark(f"{body.draft.size} octets of the message")
    try:
        if body.problem is not None:
            raise _report_to_guard(session, body.problem)
        address = journal.address
        facts = SessionFacts(
            session.id, session.hostname, session.client_name, address, policy.peer
        )
        message = await take_message(session.context, policy, journal, facts, transaction, body)
    finally:
        session.forget_transaction()
    session.tally.accepted()
    failpoint("answer.due")
    return Acknowledged(250, "2.0.0", f"Accepted as {message}")


def _report_to_guard(session: Session, problem: SmtpError) -> SmtpError:
    """Report a problem of the store to the disk guard; returns the problem."""
    if isinstance(problem, StoreDeferred):
        session.context.disk_guard.failed(problem.detail)
    return problem


async def rset(session: Session, _argument: str) -> Reply:
    """Forget the transaction (RFC 5321 §4.1.1.5)."""
    session.forget_transaction()
    return _OK


MAIL_HANDLERS: Final[Mapping[bytes, Handler]] = {
    b"MAIL": mail,
    b"RCPT": rcpt,
    b"DATA": data,
    b"BDAT": bdat,
    b"RSET": rset,
}
