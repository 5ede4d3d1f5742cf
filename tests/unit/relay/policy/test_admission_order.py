"""Admission: the order of its rules, and the findings shown to people (DOMAIN §3.2)."""

from typing import Any

import pytest

from relay.policy.admission import RULES, AdmissionFacts, Peer, Stage, admit, examine
from relay.policy.recipient import RecipientStatus
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import Refused
from relay.smtp.headers import HeaderFacts
from tests.support.sessions.attempts import (
    LIMIT,
    LOCAL,
    POLICY,
    attempt,
    authors,
    certificate,
    peer,
    to,
    white_list,
)
from whitelist.pki.trust_store import ChainStatus


def refusal(attempt: AdmissionFacts, stages: Stage = Stage.EVERY) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        admit(attempt, stages)
    # The reply is the first refusal that examine shows.
    first = next(finding for finding in examine(attempt, stages) if not finding.passed)
    assert (first.rule, first.reply) == (caught.value.rule, caught.value.reply)
    assert first.evidence == caught.value.detail
    return caught.value.rule, str(caught.value.reply)


def test_the_first_rule_that_fails_answers() -> None:
    # DOMAIN §3.2, in order; a missing list comes right after TLS, since without a list no rule may
    # refuse for good (§9.13).
    everything_wrong = attempt(
        Peer(),
        white_list=None,
        list_problem="stale",
        sender=SmtpAddress("dr", "evil.fr"),
        size=LIMIT + 1,
        recipient=to(RecipientStatus.FOREIGN),
        header=HeaderFacts(frozenset({"evil.fr"}), 101, complete=False),
        own_authors=("a.mssante.fr",),
    )
    repairs: list[tuple[str, dict[str, Any]]] = [
        ("tls", {"origin": Peer("TLSv1.3", "x")}),
        ("list", {"white_list": white_list()}),
        ("certificate", {"origin": peer("intruder", ChainStatus.EXPIRED)}),
        ("chain", {"origin": peer("intruder")}),
        ("listed", {"origin": peer()}),
        ("sender", {"sender": SmtpAddress("dr", "b.mssante.fr")}),
        ("size", {"size": LIMIT}),
        ("recipient", {"recipient": to(RecipientStatus.ACTIVE)}),
        ("header-size", {"header": HeaderFacts(frozenset({"evil.fr"}), 101)}),
        ("loop", {"header": authors("evil.fr")}),
        ("own-header-from", {"own_authors": ()}),
        ("header-from", {"header": authors("b.mssante.fr")}),
    ]
    now = everything_wrong
    for rule, repair in repairs:
        assert refusal(now)[0] == rule
        now = now._replace(**repair)
    admit(now, Stage.EVERY)
    assert len(repairs) == len(RULES) - 1  # the rule on patients is for our own users


def test_examine_shows_every_finding_with_evidence() -> None:
    facts = attempt(
        peer("c", ChainStatus.EXPIRED),
        size=LIMIT + 1,
        recipient=to(RecipientStatus.CLOSED),
        header=HeaderFacts(frozenset({"evil.fr"}), 101),
    )
    findings = {finding.rule: finding for finding in examine(facts)}
    assert list(findings) == [
        *("tls", "list", "certificate", "chain", "listed"),
        *("sender", "size", "recipient", "header-size", "loop", "own-header-from", "header-from"),
    ]
    assert {rule for rule, finding in findings.items() if finding.passed} == {
        *("tls", "list", "certificate", "listed", "header-size", "own-header-from"),
    }
    b1, b2, c = (str(certificate(name).subject) for name in ("b1", "b2", "c"))
    assert findings["tls"].evidence == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert findings["certificate"].evidence == f"{c} serial {certificate('c').serial:x}"
    assert "expired" in findings["chain"].evidence
    assert findings["listed"].evidence == f"{c}: 2 domains"
    assert findings["list"].evidence.endswith(", 5 domains")
    assert findings["sender"].evidence == (f"presented {c}, b.mssante.fr is listed with {b1}; {b2}")
    assert findings["size"].evidence == f"{LIMIT + 1} octets"
    assert findings["header-from"].evidence == "author domains of others: evil.fr"


def test_evidence_says_why_there_is_no_list() -> None:
    (finding,) = [
        f
        for f in examine(attempt(white_list=None, list_problem="past its age"))
        if f.rule == "list"
    ]
    assert finding.evidence == "past its age"


def test_facts_that_are_not_known_yet_decide_nothing() -> None:
    greeted = AdmissionFacts(peer(), POLICY, white_list())
    assert [finding.rule for finding in examine(greeted)] == [
        *("tls", "list", "certificate", "chain", "listed"),
    ]
    assert [finding.rule for finding in examine(AdmissionFacts(LOCAL, POLICY, white_list()))] == [
        "list"
    ]


@pytest.mark.parametrize(
    ("stages", "rules"),
    [
        (Stage.PEER, ["tls", "list", "certificate", "chain", "listed"]),
        (Stage.SENDER, ["sender", "size"]),
        (Stage.RECIPIENT, ["recipient"]),
        (Stage.MESSAGE, ["size", "header-size", "loop", "own-header-from", "header-from"]),
        (Stage.SENDER | Stage.RECIPIENT, ["sender", "size", "recipient"]),
    ],
)
def test_each_stage_asks_its_own_rules(stages: Stage, rules: list[str]) -> None:
    assert [finding.rule for finding in examine(attempt(), stages)] == rules
