"""The end of a message: judged, scanned, made durable with its receipt, and only then accepted.

RFC 5321 §4.1.1.4 and §6.1: the reply `250` makes us responsible for the message.
"""

from dataclasses import replace

from foundation.best_effort import best_effort
from foundation.failpoints import reached
from relay import metrics
from relay.acceptance.message import Submission
from relay.dsn.receipt import receipt
from relay.scan.scanner import ScanFacts
from relay.server.context import SessionContext
from relay.server.data import Body
from relay.server.journal import SessionJournal
from relay.server.policy import SessionPolicy
from relay.server.transaction import SessionFacts, Transaction, compose


async def take_message(
    context: SessionContext,
    policy: SessionPolicy,
    journal: SessionJournal,
    facts: SessionFacts,
    transaction: Transaction,
    body: Body,
) -> str:
    """Make the message of a transaction durable, with its receipt; returns its id.

    Raises SmtpError.  Until the intake has it, the draft belongs to the transaction.
    """
    submission = await _judge(context, policy, journal, facts, transaction, body)
    transaction.body = None  # from here on the draft belongs to the intake
    reached("message.judged")
    await context.intake.accept(submission)
    policy.took(len(submission.local), receipt=submission.report is not None)
    with best_effort:
        _tell(journal, submission)
    return submission.id


async def _judge(
    context: SessionContext,
    policy: SessionPolicy,
    journal: SessionJournal,
    facts: SessionFacts,
    transaction: Transaction,
    body: Body,
) -> Submission:
    noted = await policy.admit_message(
        transaction.sender, body.draft.size, body.header.facts(), report=body.report
    )
    now = context.clock()
    submission = compose(facts, transaction, body.draft, now)
    if noted:
        journal.record("header_from.foreign", message=submission.id, domains=noted)
        journal.log.info("header_from.foreign", message=submission.id, domains=noted)
    if context.scanning.on:
        await context.scanning.check(body.draft, _scan_facts(facts, submission))
    report = receipt(
        submission,
        body.header.section,
        context.hostname,
        now,
        context.new_id,
        context.blobs.draft,
    )
    return submission if report is None else replace(submission, report=report)


def _scan_facts(facts: SessionFacts, submission: Submission) -> ScanFacts:
    return ScanFacts(
        session=facts.session,
        message=submission.id,
        address=facts.address,
        helo=facts.helo,
        sender=str(submission.sender or ""),
        recipients=tuple(str(one.address) for one in submission.local),
    )


def _tell(journal: SessionJournal, submission: Submission) -> None:
    metrics.ACCEPTED.inc()
    size, count = submission.draft.size, len(submission.local)
    journal.record(
        "accepted",
        message=submission.id,
        size=size,
        sender=submission.sender.masked if submission.sender else "<>",
        recipients=[one.address.masked for one in submission.local],
        receipt=submission.report.id if submission.report else "",
    )
    journal.log.info("accepted", message=submission.id, size=size, recipients=count)
