"""Reports on their way: written as messages, to become durable with what they tell of.

The receipt for what is delivered here is the report of success that a sender asked for (RFC 3461
§5.2.3): MSSanté's *accusé de réception*, made durable together with the message that it reports, so
that neither is ever there without the other, and queued to the sender's operator.  A sender of ours
has it in its mailbox.
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
    """The receipt for a message about to be delivered here, None where nobody asked for one.

    `header` is the message's header section, `mailbox_id` the mailbox of ours that sent it; a
    receipt for anybody else is queued.
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
    """A report as a message in `draft`, for the mailbox of ours that it is for, else by the queue.

    `original` gives the message, of which nothing is taken unless `facts` returns all of it; it is
    never in memory as a whole.  Blocks where the draft does.  Owns the draft: whatever is raised
    (SyntaxRefused for the facts, StoreUnavailable, or what reading the message raises), it has
    been discarded.
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
