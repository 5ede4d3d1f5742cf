"""Refusals tell the peer the rule and its own presented value, and nothing of others."""

from dataclasses import replace

import pytest

from relay.policy.admission import AdmissionFacts, LocalUser, Peer, Stage, admit, examine
from relay.policy.recipient import Recipient, RecipientStatus
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import Refused
from relay.smtp.headers import HeaderFacts
from relay.smtp.reply import Reply
from tests.support.sessions.attempts import POLICY, attempt, certificate, local, peer, to
from whitelist.pki.trust_store import ChainStatus

B1, INTRUDER = (str(certificate(name).subject) for name in ("b1", "intruder"))
PATIENT = SmtpAddress("188012345678901", "patient.mssante.fr")

PRESENTED = {
    "tls": (attempt(Peer()), "clear text"),
    "certificate": (attempt(Peer("TLSv1.3", "x")), "none"),
    "chain": (
        attempt(peer("b1", ChainStatus.EXPIRED)),
        f"{B1} serial {certificate('b1').serial:x}",
    ),
    "listed": (attempt(peer("intruder")), INTRUDER),
    "sender": (attempt(sender=SmtpAddress("dr", "sub.b.mssante.fr")), f"sub.b.mssante.fr by {B1}"),
    "size": (attempt(size=1001), "1001 octets"),
    "recipient": (attempt(recipient=to(RecipientStatus.FULL)), "x@a.mssante.fr"),
    "loop": (attempt(header=HeaderFacts(frozenset({"b.mssante.fr"}), 101)), "101 Received fields"),
    "header-size": (
        attempt(header=HeaderFacts(frozenset({"b.mssante.fr"}), fields=1001)),
        "1001 fields",
    ),
    "header-from": (
        attempt(header=HeaderFacts(frozenset({"evil.fr", "b.mssante.fr"}))),
        f"evil.fr, {B1}",
    ),
    "own-header-from": (attempt(own_authors=("a.mssante.fr",)), f"a.mssante.fr, {B1}"),
    "list": (attempt(white_list=None), ""),
}


def refused(facts: AdmissionFacts) -> Refused:
    with pytest.raises(Refused) as caught:
        admit(facts, Stage.EVERY)
    return caught.value


@pytest.mark.parametrize("rule", PRESENTED)
def test_each_rule_says_what_it_judged(rule: str) -> None:
    facts, presented = PRESENTED[rule]
    error = refused(facts)
    assert (error.rule, error.presented) == (rule, presented)


def test_no_rule_is_forgotten() -> None:
    assert {finding.rule for finding in examine(attempt())} == set(PRESENTED)


def test_a_full_mailbox_is_a_passing_trouble() -> None:
    # RFC 5321 §4.2.3, RFC 3463 §3.3
    error = refused(attempt(recipient=to(RecipientStatus.FULL)))
    assert str(error.reply) == "452 4.2.2 Mailbox full, try again later"


def test_a_header_section_that_has_no_end_is_refused() -> None:
    facts = attempt(header=HeaderFacts(frozenset({"b.mssante.fr"}), complete=False))
    error = refused(facts)
    assert str(error.reply) == "550 5.6.0 Header section over 262144 octets"
    assert error.presented == "more"


@pytest.mark.parametrize(
    ("limits", "header", "rule"),
    [
        ({"max_received": 2}, HeaderFacts(frozenset({"b.mssante.fr"}), 3), "loop"),
        (
            {"max_header_fields": 2},
            HeaderFacts(frozenset({"b.mssante.fr"}), fields=3),
            "header-size",
        ),
    ],
)
def test_the_limits_are_the_configurations(
    limits: dict[str, int], header: HeaderFacts, rule: str
) -> None:
    strict = replace(POLICY, **limits)  # type: ignore[arg-type]  # counts by name
    assert refused(attempt(policy=strict, header=header)).rule == rule
    admit(attempt(header=header), Stage.EVERY)


def test_a_patient_is_not_named() -> None:
    error = refused(attempt(recipient=Recipient(PATIENT, RecipientStatus.UNKNOWN)))
    assert error.presented == "***@patient.mssante.fr"


def test_other_operators_names_are_for_our_eyes_only() -> None:
    error = refused(attempt(peer("c")))
    assert B1 in error.detail
    assert B1 not in f"{error.reply} {error.presented}"


def test_whose_mailbox_is_full_may_still_send() -> None:
    def said(state: RecipientStatus) -> dict[str, Reply | None]:
        attempt = local()._replace(origin=LocalUser(state))
        return {finding.rule: finding.reply for finding in examine(attempt)}

    full, suspended = said(RecipientStatus.FULL), said(RecipientStatus.SUSPENDED)
    assert set(full.values()) == {None}
    # The same rules apply as for a peer that may not send.
    assert [rule for rule in full if suspended[rule] is not None] == ["sender"]
    assert full.keys() == suspended.keys()
