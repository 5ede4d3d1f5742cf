"""The table of hold rules: new mail that matches a rule is queued as held, until its removal.

Rules do not touch mail that is queued already; see relay.queue_admin.actions.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from mailstore.errors import NotFound
from relay.queue.schema import hold_rules
from relay.queue_admin.filter import NULL_SENDER


@dataclass(frozen=True, slots=True)
class HoldScope:
    """Patterns of a rule, as in `filter`; None matches everything, and so does all None."""

    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    mailbox_type: str | None = None


@dataclass(frozen=True, slots=True)
class HoldRuleRow:
    """A rule in force, its author and reason; the deliveries that it holds get the same reason."""

    id: int
    scope: HoldScope
    reason: str
    author: str
    created_at: datetime


def add_rule(
    connection: Connection, scope: HoldScope, *, reason: str, author: str, now: datetime
) -> int:
    """Hold matching mail from now on; returns the rule's number."""
    values = {
        "domain": scope.domain,
        # A stored address is empty for the null sender; a pattern says `<>`.
        "sender": "" if scope.sender == NULL_SENDER else scope.sender,
        "recipient": scope.recipient,
        "mailbox_type": scope.mailbox_type,
        "reason": reason,
        "author": author,
        "created_at": now,
    }
    statement = insert(hold_rules).values(values).returning(hold_rules.c.id)
    number: int = connection.execute(statement).scalar_one()
    return number


def list_rules(connection: Connection) -> list[HoldRuleRow]:
    """The rules in force, in the order in which they are tried."""
    return [
        HoldRuleRow(
            row.id,
            HoldScope(
                row.domain,
                NULL_SENDER if row.sender == "" else row.sender,
                row.recipient,
                row.mailbox_type,
            ),
            row.reason,
            row.author,
            row.created_at,
        )
        for row in connection.execute(select(hold_rules).order_by(hold_rules.c.id))
    ]


def remove_rule(connection: Connection, number: int) -> HoldRuleRow:
    """Remove a rule; deliveries that it has held stay held.  Raises NotFound."""
    found = next((rule for rule in list_rules(connection) if rule.id == number), None)
    if found is None:
        raise NotFound(f"there is no rule {number}; list them: mssante queue rules list")
    connection.execute(delete(hold_rules).where(hold_rules.c.id == number))
    return found
