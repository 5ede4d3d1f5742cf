"""Receipts: the report of successful delivery that a sender asked for (RFC 3461 §5.2.2, §6.2).

It is MSSanté's *accusé de réception*, made durable together with the message that it reports, so
that neither is ever there without the other, and queued to the sender's operator.
"""

from collections.abc import Callable
from datetime import datetime

from mailstore.drafts import Draft
from relay.parameters import MailParameters, Notify
from relay.reports import (
    DELIVERED_STATUS,
    Action,
    ReportedRecipient,
    ReportFacts,
    build_report,
)
from relay.transaction import Submission


def receipt(
    submission: Submission,
    header: bytes,
    hostname: str,
    now: datetime,
    new_id: Callable[[], str],
    new_draft: Callable[[], Draft],
) -> Submission | None:
    """The receipt for a message about to be delivered here, None where nobody asked for one.

    `header` is the message's header section.  The null reverse-path never gets a report
    (RFC 3461 §6.2).
    """
    asked = [
        one
        for one in submission.local
        if one.parameters.notify is not None and Notify.SUCCESS in one.parameters.notify
    ]
    if submission.sender is None or not asked:
        return None
    report_id = new_id()
    octets = build_report(
        ReportFacts(
            hostname=hostname,
            message_id=report_id,
            to=str(submission.sender),
            at=now,
            arrival=submission.received_at,
            envid=submission.parameters.envid,
            recipients=tuple(
                ReportedRecipient(
                    str(one.address), Action.DELIVERED, DELIVERED_STATUS, one.parameters.orcpt
                )
                for one in asked
            ),
            headers=header,
            smtputf8=submission.parameters.smtputf8,
        )
    )
    wide = not octets.isascii()
    draft = new_draft()
    draft.write(octets)
    return Submission(
        id=report_id,
        session=submission.session,
        peer="local",
        sender=None,
        received_at=now,
        trace=b"",
        draft=draft,
        parameters=MailParameters(eight_bit=wide, smtputf8=wide),
        remote={submission.sender.domain: (submission.sender,)},
    )
