"""Hold rules for new mail, on both databases."""

import pytest
from sqlalchemy import select

from mailstore.db.database import Database
from mailstore.errors import NotFound
from relay.queue.schema import hold_rules
from relay.queue_admin.hold_rules import HoldRuleRow, HoldScope, add_rule, list_rules, remove_rule
from tests.support.clock import NOW

SCOPE = HoldScope("*.b.mssante.fr", "<>", "dr?@*", "APP")


def test_they_are_kept_in_their_order(database: Database) -> None:
    with database.write() as connection:
        first = add_rule(connection, SCOPE, reason="why", author="anne", now=NOW)
        second = add_rule(connection, HoldScope(), reason="all of it", author="bob", now=NOW)
    with database.read() as connection:
        assert list_rules(connection) == [
            HoldRuleRow(first, SCOPE, "why", "anne", NOW),
            HoldRuleRow(second, HoldScope(), "all of it", "bob", NOW),
        ]
    with database.write() as connection:
        assert remove_rule(connection, first).scope == SCOPE
        assert [one.id for one in list_rules(connection)] == [second]
        with pytest.raises(NotFound, match="there is no rule"):
            remove_rule(connection, first)


def test_the_null_sender_is_stored_as_it_is_in_the_queue(database: Database) -> None:
    with database.write() as connection:
        add_rule(connection, SCOPE, reason="why", author="anne", now=NOW)
        assert connection.scalar(select(hold_rules.c.sender)) == ""
