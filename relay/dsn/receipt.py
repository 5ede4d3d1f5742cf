"""Receipts, and DSNs as messages in a draft.

A receipt is a DSN of success for local delivery, sent if the sender asked for it (RFC 3461 §5.2.3):
MSSanté's *accusé de réception*.  It becomes durable in the same transaction as the message that it
reports, so that both exist or neither.  It is queued for the sender's operator; a sender of ours
gets it in its mailbox.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from mailstore.sealed.draft import Draft
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.dsn.builder import build_report
from relay.dsn.model import ReportFacts
from relay.dsn.rules import Original, RecipientResult, notify_text, report_of
from relay.smtp.address import parse_address
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, MailParameters


def receipt_of(
    message: AcceptedMessage,
    header: bytes,
    hostname: str,
    now: datetime,
    new_id: Callable[[], str],
    new_draft: Callable[[], Draft],
    mailbox_id: int | None = None,
) -> AcceptedMessage | None:
    """Return the receipt for a message about to be delivered here; None if not asked for.

    `header`: header section of the message.  `mailbox_id`: our mailbox that sent the message;
    without it the receipt is queued.
    """
    asked = [
        one
        for one in message.local
        if one.parameters.notify is not None and DsnNotify.SUCCESS in one.parameters.notify
    ]
    if message.sender is None or not asked:
        return None
    parameters = message.parameters
    facts = report_of(
        Original(
            message.id,
            str(message.sender),
            message.received_at,
            parameters.envid,
            parameters.ret,
            message.draft.size,
            header,
            smtputf8=parameters.smtputf8,
        ),
        [
            RecipientResult(
                EnvelopeRecipient(
                    str(one.address),
                    notify_text(one.parameters.notify),
                    one.parameters.orcpt,
                ),
                Outcome(State.DELIVERED, ""),
                here=True,
            )
            for one in asked
        ],
        hostname=hostname,
        report_id=new_id(),
        now=now,
    )
    if facts is None:
        return None
    return as_message(facts, new_draft(), session=message.session, mailbox_id=mailbox_id)


def as_message(
    facts: ReportFacts,
    draft: Draft,
    *,
    session: str,
    mailbox_id: int | None = None,
    original: Iterable[bytes] = (),
) -> AcceptedMessage:
    """Write a DSN as a message into `draft`: for our mailbox `mailbox_id`, else for the queue.

    `original`: octets of the message, read only if `facts` returns the whole message, and never
    whole in memory.  Blocks where the draft blocks.  Owns the draft: it is discarded after any
    error (SyntaxRefused for the facts, StoreUnavailable, or an error from reading the message).
    """
    try:
        to, report = parse_address(facts.to), build_report(facts)
        draft.write(report.opening)
        if report.whole:
            for octets in original:
                draft.write(octets)
        draft.write(report.closing)
    except BaseException:
        draft.discard()
        raise
    return AcceptedMessage(
        id=facts.message_id,
        session=session,
        peer="local",
        sender=None,
        received_at=facts.at,
        trace=b"",
        draft=draft,
        parameters=MailParameters(eight_bit=report.eight_bit, smtputf8=report.smtputf8),
        local=() if mailbox_id is None else (LocalRecipient(mailbox_id, to),),
        remote={to.domain: (to,)} if mailbox_id is None else {},
    )
