"""The table of rules that hold new mail: until one is removed, what it covers is queued as held.

What is in the queue already is not touched by them; see relay.queue_admin.actions.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from mailstore.errors import NotFound
from relay.queue.schema import hold_rules
from relay.queue_admin.filter import NULL_SENDER


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule is about: patterns as in `filter`; None, or all None, covers all."""

    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    mailbox_type: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in force, by whom and why; `reason` becomes the reason of what it holds."""

    id: int
    scope: Scope
    reason: str
    author: str
    created_at: datetime


def add_rule(
    connection: Connection, scope: Scope, *, reason: str, author: str, now: datetime
) -> int:
    """Hold what comes from now on; returns the rule's number."""
    values = {
        "domain": scope.domain,
        # Of an address, unlike of a pattern, the null sender is written as nothing.
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


def list_rules(connection: Connection) -> list[Rule]:
    """The rules in force, in the order in which they are tried."""
    return [
        Rule(
            row.id,
            Scope(
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


def remove_rule(connection: Connection, number: int) -> Rule:
    """Take a rule away; what it has held stays held.  Raises NotFound."""
    found = next((rule for rule in list_rules(connection) if rule.id == number), None)
    if found is None:
        raise NotFound(f"there is no rule {number}; list them: mssante queue rules list")
    connection.execute(delete(hold_rules).where(hold_rules.c.id == number))
    return found
