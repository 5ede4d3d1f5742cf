"""Alarms, derived from facts alone: each is raised when it must be, and not before."""

from dataclasses import replace
from datetime import timedelta

import pytest

from foundation.clock_watch import Jump
from mssante_operator.monitoring.alarms import AlarmFacts, AlarmName, alarms
from relay.policy.trust_state import ListSnapshot
from tests.support.lists.hierarchy import NOW, SIGNER, crls, listed, server, signed_list, trust
from whitelist.national.freshness import Freshness
from whitelist.national.reader import read_list
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import CertificateFacts

OWN = CertificateFacts.from_certificate(server("smtp.b.mssante.fr").certificate)
LIST = read_list(signed_list([listed("b.mssante.fr", str(OWN.subject))]), trust(), SIGNER, NOW)
TRUST = replace(trust(), revocation=RevocationPolicy.REFUSE).with_crls(crls())
QUIET = AlarmFacts(
    now=NOW,
    snapshot=ListSnapshot(LIST, Freshness.FRESH, NOW),
    refresh_problem="",
    own=OWN,
    own_chain_problem="",
    hosted=["b.mssante.fr"],
    trust=TRUST,
    crl_problems=[],
)


def names(facts: AlarmFacts) -> list[AlarmName]:
    return [alarm.name for alarm in alarms(facts)]


def test_all_is_quiet() -> None:
    assert alarms(QUIET) == []


def test_bodies_that_cannot_be_read() -> None:
    (alarm,) = alarms(replace(QUIET, unreadable=True))
    assert alarm.name is AlarmName.BODY_UNREADABLE
    assert "mssante queue list --state held" in alarm.detail


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (timedelta(days=60, seconds=1), ""),
        (timedelta(days=60), "within 60 days"),
        (timedelta(days=30), "within 30 days"),
        (timedelta(days=7), "within 7 days"),
        (timedelta(0), "expired on"),
    ],
)
def test_certificates_near_their_end(left: timedelta, says: str) -> None:
    # DOMAIN §9.61: own and signer, at 60, 30 and 7 days.
    own = replace(OWN, not_after=NOW + left)
    signer = replace(LIST, signer=replace(LIST.signer, not_after=NOW + left))
    for facts, name in (
        (replace(QUIET, own=own), AlarmName.OWN_CERTIFICATE_EXPIRES),
        (
            replace(QUIET, snapshot=ListSnapshot(signer, Freshness.FRESH, NOW)),
            AlarmName.LIST_SIGNER_EXPIRES,
        ),
    ):
        found = alarms(facts)
        assert [alarm.name for alarm in found] == ([name] if says else [])
        assert all(says in alarm.detail for alarm in found)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (
            replace(QUIET, snapshot=ListSnapshot(None, Freshness.NONE, None, "never")),
            AlarmName.LIST_MISSING,
        ),
        (
            replace(QUIET, snapshot=ListSnapshot(LIST, Freshness.STALE, NOW)),
            AlarmName.LIST_STALE,
        ),
        (
            replace(QUIET, snapshot=ListSnapshot(LIST, Freshness.EXPIRED, NOW, "expired")),
            AlarmName.LIST_EXPIRED,
        ),
        (replace(QUIET, refresh_problem="shrunk: ..."), AlarmName.LIST_REFUSED),
        (replace(QUIET, sharing_problem="the list of ...: shrunk"), AlarmName.LIST_BEHIND),
        (replace(QUIET, hosted=["b.mssante.fr", "z.mssante.fr"]), AlarmName.OWN_DOMAIN),
        (replace(QUIET, own=None), AlarmName.OWN_CERTIFICATE_UNREADABLE),
        (replace(QUIET, own_chain_problem="revoked"), AlarmName.OWN_CERTIFICATE_REFUSED),
        (replace(QUIET, crl_problems=["http://x: down"]), AlarmName.CRL_SOURCE),
        (replace(QUIET, clock_apart="by 1800 seconds"), AlarmName.CLOCK_APART),
        (replace(QUIET, copied_from="0123"), AlarmName.MACHINE_COPY),
        (replace(QUIET, waiting=["worker: no connection"]), AlarmName.PROCESS_WAITS),
        (replace(QUIET, limited=["PER"]), AlarmName.SENDING_LIMIT),
        (replace(QUIET, jumps=[Jump(NOW, timedelta(days=60))]), AlarmName.CLOCK_JUMPED),
    ],
    ids=lambda value: value.value if isinstance(value, AlarmName) else "",
)
def test_each_alarm_alone(facts: AlarmFacts, name: AlarmName) -> None:
    assert names(facts) == [name]


def test_lacking_revocation_lists() -> None:
    # DOMAIN §9.62
    late = replace(QUIET, now=NOW + timedelta(days=10), own=OWN)
    assert names(late) == [AlarmName.CRL_LACKING, AlarmName.CRL_LACKING]
    root_only = replace(QUIET, trust=TRUST.with_crls(crls()[:1]))
    assert names(root_only) == [AlarmName.CRL_LACKING]
    off = replace(TRUST, revocation=RevocationPolicy.OFF)
    assert names(replace(late, trust=off)) == []


def test_anchors_that_do_not_leave() -> None:
    at = NOW - timedelta(hours=24)
    facts = replace(QUIET, unsent={"syslog:far": (at, "refused")})
    (alarm,) = alarms(facts)
    assert alarm.name is AlarmName.AUDIT_ANCHORS
    assert "syslog:far lacks anchors since" in alarm.detail
    assert alarm.detail.endswith("refused")
    young = at + timedelta(seconds=1)
    assert alarms(replace(QUIET, unsent={"syslog:far": (young, "refused")})) == []
    assert names(replace(QUIET, unanchored="no key")) == [AlarmName.AUDIT_ANCHORS]


def test_a_trail_that_was_tampered_with() -> None:
    (alarm,) = alarms(replace(QUIET, audit_damage="chain 1: row 3"))
    assert alarm.name is AlarmName.AUDIT_DAMAGED
    assert "mssante audit verify" in alarm.detail


def test_jobs_whose_last_round_failed() -> None:
    failing = {"mailbox-erasure": "the database is away", "blob": "ValueError"}
    found = alarms(replace(QUIET, failing_jobs=failing))
    assert [alarm.name for alarm in found] == [AlarmName.JOB_FAILING] * 2
    assert found[1].detail.startswith("job mailbox-erasure: its last round failed: the database is")
