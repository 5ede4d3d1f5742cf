"""The end of a message: judged, scanned, made durable with its receipt, and only then accepted.

RFC 5321 §4.1.1.4 and §6.1: the reply `250` makes us responsible for the message.
"""

import asyncio
from typing import Final

from foundation.best_effort import best_effort
from foundation.failpoints import failpoint
from relay import metrics
from relay.acceptance.message import AcceptedMessage, WithReceipt
from relay.dsn.receipt import receipt_of
from relay.scan.scanner import ScanFacts
from relay.server.context import SessionContext
from relay.server.data import MessageReceiver
from relay.server.journal import SessionJournal
from relay.server.session_policy import SessionPolicy
from relay.server.transaction import SessionFacts, Transaction, compose
from relay.smtp.headers import HeaderFacts
from relay.smtp.message_id import message_id_digest

# From MAIL to the end of the message: a slower one has its mailboxes checked again, so that a
# mailbox gets mail for some seconds after its closing, and never after its erasure.
RECHECK_SECONDS: Final = 10.0


async def take_message(
    context: SessionContext,
    policy: SessionPolicy,
    journal: SessionJournal,
    facts: SessionFacts,
    transaction: Transaction,
    body: MessageReceiver,
) -> str:
    """Make the message of a transaction durable, with its receipt; returns its id.

    Raises SmtpError.  Until the group committer has it, the draft belongs to the transaction.
    """
    header = body.header.facts()
    message, receipt = await _judge(context, policy, journal, facts, transaction, body, header)
    transaction.body = None  # from here on the draft belongs to the committer
    failpoint("message.judged")
    await context.committer.accept(message, receipt)
    policy.count_accepted(len(message.local), receipt=receipt is not None)
    with best_effort:
        _tell(journal, message, receipt, header)
    return message.id


async def _judge(
    context: SessionContext,
    policy: SessionPolicy,
    journal: SessionJournal,
    facts: SessionFacts,
    transaction: Transaction,
    body: MessageReceiver,
    header: HeaderFacts,
) -> WithReceipt:
    noted = await policy.admit_message(
        transaction.sender, body.draft.size, header, report=body.report
    )
    now = context.clock()
    message = compose(facts, transaction, body.draft, now)
    if noted:
        journal.record("header_from.foreign", message=message.id, domains=noted)
        journal.log.info("header_from.foreign", message=message.id, domains=noted)
    if context.scanners.on:
        await context.scanners.check(body.draft, _scan_facts(facts, message))
    if asyncio.get_running_loop().time() - transaction.begun > RECHECK_SECONDS:
        await context.recipient_lookup.check_open(list(transaction.local))
    asked = receipt_of(
        message,
        body.header.section,
        context.hostname,
        now,
        context.new_id,
        context.blobs.draft,
    )
    return message, asked


def _scan_facts(facts: SessionFacts, message: AcceptedMessage) -> ScanFacts:
    return ScanFacts(
        session=facts.session,
        message=message.id,
        address=facts.address,
        helo=facts.helo,
        sender=str(message.sender or ""),
        recipients=tuple(str(one.address) for one in message.local),
    )


def _tell(
    journal: SessionJournal,
    message: AcceptedMessage,
    receipt: AcceptedMessage | None,
    header: HeaderFacts,
) -> None:
    metrics.ACCEPTED.inc()
    size, count = message.draft.size, len(message.local)
    journal.record(
        "accepted",
        message=message.id,
        size=size,
        sender=message.sender.masked if message.sender else "<>",
        recipients=[one.address.masked for one in message.local],
        receipt=receipt.id if receipt else "",
        message_id_digest=message_id_digest(header.message_id),
    )
    journal.log.info("accepted", message=message.id, size=size, recipients=count)
