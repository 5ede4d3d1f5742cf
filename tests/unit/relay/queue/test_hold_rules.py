"""Patterns of hold rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.queue.hold_rules import HoldRule, NewMail, reason_to_hold

MAIL = NewMail("b.mssante.fr", "Labo@a.mssante.fr", ("x@b.mssante.fr", "y@b.mssante.fr"), "APP")


def rule(**patterns: str) -> HoldRule:
    facts = dict.fromkeys(("domain", "sender", "recipient", "mailbox_type"))
    return HoldRule(**{**facts, **patterns}, reason="why")


@pytest.mark.parametrize(
    ("patterns", "held"),
    [
        ({}, True),
        ({"domain": "b.mssante.fr"}, True),
        ({"domain": "B.MSSante.fr"}, True),
        ({"domain": "bxmssante.fr"}, False),  # a dot is no wildcard
        ({"domain": "mssante.fr"}, False),  # the whole value must match
        ({"domain": "*.mssante.fr"}, True),
        ({"domain": "?.mssante.fr"}, True),
        ({"domain": "??.mssante.fr"}, False),
        ({"sender": "labo@*"}, True),
        ({"sender": "[l]abo@*"}, False),
        ({"recipient": "y@*"}, True),  # one recipient is enough
        ({"recipient": "z@*"}, False),
        ({"mailbox_type": "APP"}, True),
        ({"mailbox_type": "PER"}, False),
        ({"domain": "b.*", "sender": "nobody@*"}, False),
    ],
)
def test_patterns(patterns: dict[str, str], held: bool) -> None:
    assert (reason_to_hold(MAIL, [rule(**patterns)]) == "why") is held


def test_the_first_rule_that_matches_says_why() -> None:
    first = HoldRule("c.*", None, None, None, "not this one")
    second = HoldRule(None, None, None, None, "maintenance")
    assert reason_to_hold(MAIL, [first, second, rule()]) == "maintenance"
    assert reason_to_hold(MAIL, []) is None


def test_mail_of_no_mailbox_has_no_type() -> None:
    mail = NewMail("b.mssante.fr", "", ("x@b.mssante.fr",), None)
    assert reason_to_hold(mail, [rule(mailbox_type="APP")]) is None
    assert reason_to_hold(mail, [rule(sender="")]) == "why"


@given(st.text(), st.text())
def test_what_has_no_wildcard_matches_itself_alone(pattern: str, value: str) -> None:
    literal = pattern.replace("*", "").replace("?", "")
    mail = NewMail(value, "", (), None)
    held = reason_to_hold(mail, [rule(domain=literal)]) is not None
    assert held or value != literal
    assert not held or len(value) == len(literal)
