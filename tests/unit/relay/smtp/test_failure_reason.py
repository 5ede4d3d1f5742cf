"""Reasons of attempts: their labels are seen outside, status and cause are told to senders."""

import inspect
import re

import pytest

from relay.dsn.status import judge
from relay.dsn.texts import ENGLISH, FRENCH
from relay.policy import server_admission
from relay.smtp.failure_reason import Cause, FailureReason

# As metrics, journals and the alert rules of operators have them.
LABELS = {
    "refused", "no-route", "connection", "timeout", "unavailable", "protocol", "unknown-outcome",
    "no-starttls", "tls", "server-tls", "server-list", "server-certificate", "server-chain",
    "server-name", "not-listed", "store", "body-missing", "body-damaged", "body-key-missing",
    "internal", "stuck", "lease", "overdue", "expired", "dropped",
}  # fmt: skip


def test_the_labels_are_those_that_are_seen_outside() -> None:
    assert {one.value for one in FailureReason} == LABELS
    assert all(str(one) == one == one.value for one in FailureReason)


@pytest.mark.parametrize("reason", FailureReason)
def test_each_has_a_status_and_a_cause_that_senders_can_be_told(reason: FailureReason) -> None:
    assert re.fullmatch(r"[0-7]\.[0-9]{1,2}", reason.status)
    assert reason.cause in FRENCH.causes
    assert reason.cause in ENGLISH.causes
    found = judge("no words of a peer", reason, permanent=False)
    assert (found.status, found.cause) == (f"4.{reason.status}", reason.cause)


def test_each_rule_for_servers_has_a_reason() -> None:
    source = inspect.getsource(server_admission)
    rules = set(re.findall(r'(?:ServerFinding|_failed|_passed)\(\s*"(\w+)"', source))
    assert len(rules) == 5
    for rule in rules:
        assert FailureReason(f"server-{rule}").cause is Cause.UNSAFE


def test_only_bodies_wait_for_a_person() -> None:
    assert {one.value for one in FailureReason if one.body} == {
        "body-missing", "body-damaged", "body-key-missing",
    }  # fmt: skip
