"""Enqueue: new deliveries, and the hold rules for them."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, insert, select

from mailstore.mailboxes.identifiers import MailboxType
from relay.queue.hold_rules import HoldRule, NewMail, reason_to_hold
from relay.queue.model import HeldBack, QueueItem, Traffic
from relay.queue.schema import deliveries, delivery_recipients, hold_rules
from relay.smtp.outcome import State
from relay.smtp.parameters import RcptParameters

_NOTHING: Final = RcptParameters()
_RULES: Final = select(
    *(hold_rules.c[name] for name in ("domain", "sender", "recipient", "mailbox_type", "reason"))
).order_by(hold_rules.c.id)


def enqueue(connection: Connection, items: Sequence[QueueItem]) -> list[HeldBack]:
    """Add deliveries, due at once or held by a rule, in the caller's transaction.

    Returns the held deliveries.
    """
    if not items:
        return []
    rules = [HoldRule(*row) for row in connection.execute(_RULES)]
    held = [
        reason_to_hold(NewMail(item.domain, item.sender, item.recipients, item.mailbox_type), rules)
        for item in items
    ]
    rows = [
        {
            "message_id": item.message_id,
            "domain": item.domain,
            "state": State.WAITING,
            "smtputf8": item.smtputf8,
            "attempts": 0,
            "due": item.created_at,
            "created_at": item.created_at,
            "last_error": "",
            "sender": item.sender,
            "traffic": Traffic.BULK if item.mailbox_type is MailboxType.APP else Traffic.PERSON,
            "mailbox_type": item.mailbox_type,
            "held": reason,
            "envid": item.envid,
            "ret": item.ret,
        }
        for item, reason in zip(items, held, strict=True)
    ]
    statement = insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True)
    ids = connection.scalars(statement, rows).all()
    connection.execute(
        insert(delivery_recipients),
        [
            {
                "delivery_id": key,
                "address": address,
                "state": State.WAITING,
                "reply": "",
                "notify": ",".join(sorted(asked.notify or ())),
                "orcpt": asked.orcpt,
            }
            for key, item in zip(ids, items, strict=True)
            for address in item.recipients
            for asked in [item.asked.get(address, _NOTHING)]
        ],
    )
    return [
        HeldBack(key, item.message_id, item.domain, reason)
        for key, item, reason in zip(ids, items, held, strict=True)
        if reason is not None
    ]
