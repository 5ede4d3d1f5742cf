"""Rules that hold new mail, on both databases."""

import pytest

from mailstore.database import Database
from mailstore.errors import NotFound
from relay.hold_rules import Rule, Scope, add_rule, list_rules, remove_rule
from tests.support.clock import NOW

SCOPE = Scope("*.b.mssante.fr", "<>", "dr?@*", "APP")


def test_they_are_kept_in_their_order(database: Database) -> None:
    with database.write() as connection:
        first = add_rule(connection, SCOPE, reason="why", author="anne", now=NOW)
        second = add_rule(connection, Scope(), reason="all of it", author="bob", now=NOW)
    with database.read() as connection:
        assert list_rules(connection) == [
            Rule(first, SCOPE, "why", "anne", NOW),
            Rule(second, Scope(), "all of it", "bob", NOW),
        ]
    with database.write() as connection:
        assert remove_rule(connection, first).scope == SCOPE
        assert [one.id for one in list_rules(connection)] == [second]
        with pytest.raises(NotFound, match="there is no rule"):
            remove_rule(connection, first)


@pytest.mark.parametrize(
    ("domain", "sender", "recipients", "mailbox_type", "covered"),
    [
        ("x.b.mssante.fr", "", ("a@x", "DR1@x"), "APP", True),
        ("b.mssante.fr", "", ("dr1@x",), "APP", False),
        ("x.b.mssante.fr", "claire@a", ("dr1@x",), "APP", False),
        ("x.b.mssante.fr", "", ("dr12@x",), "APP", False),
        ("x.b.mssante.fr", "", ("dr1@x",), "PER", False),
        ("x.b.mssante.fr", "", ("dr1@x",), None, False),
    ],
)
def test_what_they_cover(
    domain: str,
    sender: str,
    recipients: tuple[str, ...],
    mailbox_type: str | None,
    covered: bool,
) -> None:
    assert SCOPE.covers(domain, sender, recipients, mailbox_type) is covered
    assert Scope().covers(domain, sender, recipients, mailbox_type)
