"""The audit domains of the real white list, in both directions (DOMAIN §2.4, §9.21).

Each situation is a peer with a certificate really made for it, under a list shaped like the real
one: five of its domains belong to two names, and one only to `bus.mssante.fr`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from structlog.typing import EventDict

from mssante_operator.setup.testbed.signed_list import ListedDomain, build_signed_list
from tests.support.delivery.senders import sending, server_tls
from tests.support.machines.operators import ACTIVE, HOST, inbound, trust_space
from tests.support.sessions.dialogue import parse, play
from tests.support.sessions.scripted import ScriptedPeer, running
from tests.support.waiting import until
from whitelist.pki.distinguished_name import DistinguishedName

UNDER = "espacedeconfiance.mssante.fr"
BUS = "CN=bus.mssante.fr,OU=347976684200724,O=CAPGEMINI TECHNOLOGY SERVICES,ST=Paris (75),C=FR"

# Domain: the operator whose name is listed for it, and whether the bus is listed too.
LISTED: Mapping[str, tuple[str | None, bool]] = {
    "cert-valide-audit": ("b", False),
    "cert-expire-audit": ("b", True),
    "cert-revoque-audit": ("b", True),
    "cert-non-igc-audit": ("b", True),
    "cert-no-match-audit": ("b", True),
    "cert-cn-diff-dn-audit": ("b", True),
    "sans-tls-audit": (None, True),
    "tests-operateur": ("c", False),
}


def name_of(operator: str) -> str:
    """The name in an operator's certificate, as RFC 4514 text."""
    return str(DistinguishedName.from_certificate(trust_space().operators[operator].certificate))


@cache
def audit_list() -> bytes:
    """The thirteen entries of DOMAIN §2.4, and the domains of operators A and B."""
    named = {"a.mssante.fr": [name_of("a")], "b.mssante.fr": [name_of("b")]}
    for label, (own, bus) in LISTED.items():
        named[f"{label}.{UNDER}"] = [*([name_of(own)] if own else []), *([BUS] if bus else [])]
    space = trust_space().space
    entries = [
        ListedDomain(domain, dn, "Domaine d'audit Espace de Confiance", space.now)
        for domain, names in sorted(named.items())
        for dn in names
    ]
    assert sum(entry.domain.endswith(UNDER) for entry in entries) == 13
    return build_signed_list(entries, space.now, space.signer)


@dataclass(frozen=True)
class Situation:
    """A peer's certificate, and the expected result in each direction.

    `shows` names a credential, None for a peer without TLS.  `refused` is the reply to MAIL, None
    if the mail is accepted; `rule` and `evidence` are those of the inbound log line, `proven`:
    whether its name counts; `reason` and `says` belong to the deferred delivery.
    """

    domain: str
    shows: str | None
    refused: str | None = None
    rule: str = ""
    evidence: str = ""
    reason: str = ""
    says: str = ""
    proven: bool = True
    variant: str = ""

    @property
    def address(self) -> str:
        """A mailbox of the audit domain."""
        return f"outil@{self.domain}.{UNDER}"


UNLISTED = "554 5.7.1 Certificate name is not on the national white list"
SITUATIONS = (
    Situation("cert-valide-audit", "b"),
    Situation(
        "cert-expire-audit",
        "expired",
        "554 5.7.1 Client certificate refused: expired",
        rule="chain",
        evidence="certificate has expired",
        proven=False,
        reason="tls",
        says="certificate verify failed: certificate has expired",
    ),
    Situation(
        "cert-revoque-audit",
        "revoked",
        "554 5.7.1 Client certificate refused: revoked",
        rule="chain",
        proven=False,
        evidence="revoked",
        reason="server-chain",
        says="server refused by rule chain: ",
    ),
    Situation(
        "cert-non-igc-audit",
        "foreign_b",
        "554 5.7.1 Client certificate refused: untrusted",
        rule="chain",
        proven=False,
        evidence="unable to get local issuer certificate",
        reason="tls",
        says="unable to get local issuer certificate",
    ),
    Situation(
        "cert-no-match-audit",
        "intruder",
        UNLISTED,
        rule="listed",
        evidence="presented CN=smtp.intrus.example,",
        reason="server-name",
        says="it showed CN=smtp.intrus.example,",
    ),
    Situation(
        "cert-no-match-audit",
        "c",
        f"550 5.7.1 Sender domain cert-no-match-audit.{UNDER} is not listed with your certificate",
        rule="sender",
        evidence="presented CN=smtp.c.mssante.fr,",
        reason="server-name",
        says="it showed CN=smtp.c.mssante.fr,",
        variant="-listed-elsewhere",
    ),
    Situation(
        "cert-cn-diff-dn-audit",
        "cn_differs",
        UNLISTED,
        rule="listed",
        evidence="presented CN=smtp.b2.mssante.fr,OU=1750000002,",
        reason="server-name",
        says="it showed CN=smtp.b2.mssante.fr,OU=1750000002,",
    ),
    Situation(
        "cert-cn-diff-dn-audit",
        "dn_differs",
        UNLISTED,
        rule="listed",
        evidence="presented CN=smtp.b.mssante.fr,OU=1750000099,",
        reason="server-name",
        says="it showed CN=smtp.b.mssante.fr,OU=1750000099,",
        variant="-same-cn",
    ),
    Situation(
        "sans-tls-audit",
        None,
        "530 5.7.0 Must issue a STARTTLS command first",
        rule="tls",
        evidence="no TLS on this connection",
        reason="no-starttls",
        says="offers no STARTTLS",
    ),
    Situation("tests-operateur", "c"),
)
every_situation = pytest.mark.parametrize(
    "situation", SITUATIONS, ids=lambda situation: situation.domain + situation.variant
)

FAMILIES = (
    "mssante_refused",
    "mssante_tls_handshakes_failed",
    "mssante_messages_accepted",
    "mssante_recipients_delivered",
    "mssante_recipients_failed",
    "mssante_deliveries_deferred",
    "mssante_delivery_attempts",
)


def counted() -> dict[str, float]:
    """The relay's counters so far, by sample as Prometheus shows it."""
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in REGISTRY.collect()
        if family.name in FAMILIES
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def growth(before: Mapping[str, float]) -> dict[str, float]:
    """The growth of the counters since then."""
    return {
        name: value - before.get(name, 0)
        for name, value in counted().items()
        if value != before.get(name, 0)
    }


def lines(logs: list[EventDict], event: str) -> Callable[[], bool]:
    """Whether such a line has been logged."""
    return lambda: any(line["event"] == event for line in logs)


def conversation(situation: Situation) -> str:
    """The peer's commands to us, as a dialogue file."""
    text = ["S: 220 *"]
    if situation.shows is not None:
        text += ["C: STARTTLS", "S: 220 *"]
        text += ["T: starttls"]
    text += ["C: EHLO smtp.audit.mssante.fr", "S: 250 ..."]
    text += [f"C: MAIL FROM:<{situation.address}>"]
    if situation.refused:
        told = f"{situation.refused} (rule {situation.rule}; presented *) [[]session *]"
        text += [f"S: {told}", f"C: RCPT TO:<{ACTIVE}>", "S: 5?? 5.*"]
    else:
        text += ["S: 250 2.1.0 *", f"C: RCPT TO:<{ACTIVE}>", "S: 250 2.1.5 *", "C: DATA"]
        text += ["S: 354 *", f"C: From: {situation.address}", "C:", "C: audit", "C: ."]
        text += ["S: 250 2.0.0 Accepted as *"]
    return "\n".join([*text, "C: QUIT", "S: 221 *"])


@every_situation
async def test_the_peer_connects_to_us(situation: Situation, tmp_path: Path) -> None:
    # DOMAIN §9.21, inbound: reply, metric, log line; a refused peer leaves nothing in a mailbox.
    script = tmp_path / f"{situation.domain}.txt"
    script.write_text(conversation(situation), encoding="utf-8")
    async with inbound(tmp_path, white_list=audit_list()) as server:
        before = counted()
        with capture_logs() as logs:
            await play(parse(script), HOST, server.port, lambda: server.client_tls(situation.shows))
            await until(lambda: not server.context.connection_counts.sessions)
        grown = growth(before)
        entries = server.entries(ACTIVE)
    if situation.refused is None:
        (accepted,) = (line for line in logs if line["event"] == "accepted")
        assert situation.shows is not None
        assert accepted["peer"] == name_of(situation.shows)
        (entry,) = entries
        assert (entry.message.id, entry.message.sender) == (accepted["message"], situation.address)
        assert grown == {
            "mssante_messages_accepted_total[]": 1,
            "mssante_recipients_delivered_total['', 'mailbox']": 1,
        }
        return
    assert entries == []
    assert not lines(logs, "accepted")()
    refused = next(line for line in logs if line["event"] == "refused")
    assert (refused["rule"], refused["reply"]) == (situation.rule, situation.refused)
    assert situation.evidence in refused["detail"]
    if situation.shows is not None:
        shown = trust_space().operators.get(situation.shows) or trust_space().foreign["foreign_b"]
        name = str(DistinguishedName.from_certificate(shown.certificate))
        assert refused["peer"] == (name if situation.proven else f"{name} (unproven)")
    # Without TLS the RCPT after MAIL meets the same rule; otherwise it lacks a transaction.
    by_rule = f"mssante_refused_total{sorted((situation.rule, situation.refused[:3]))}"
    if situation.shows is None:
        assert grown == {by_rule: 2}
    else:
        assert grown == {by_rule: 1, "mssante_refused_total['503', 'SyntaxRefused']": 1}


@every_situation
async def test_we_connect_to_the_peer(situation: Situation, tmp_path: Path) -> None:
    # DOMAIN §9.21, §9.27, outbound: the mail is sent, or it waits and never reaches the peer.
    shown = server_tls(situation.shows, tmp_path) if situation.shows else ScriptedPeer(None)
    before = counted()
    with sending(tmp_path / "b", audit_list()) as sender, capture_logs() as logs:
        async with running(shown) as peer:
            key = sender.queue(situation.address)
            await sender.deliver(peer.port)
        queued = sender.queued()
    (attempted,) = (line for line in logs if line["event"] == "delivery.attempted")
    assert attempted["message"] == key
    assert attempted["domain"] == f"{situation.domain}.{UNDER}"
    assert (attempted["attempt"], attempted["reason"]) == (1, situation.reason)
    if situation.refused is None:
        assert queued == []
        assert attempted["state"] == "delivered"
        assert f"RCPT TO:<{situation.address}>" in peer.received
        assert len(peer.messages) == 1
        delivered = "mssante_recipients_delivered_total['other', 'peer']"
        assert growth(before) == {delivered: 1, "mssante_delivery_attempts_total['other']": 1}
        return
    said = ["EHLO"] if situation.shows is None else ["EHLO", "STARTTLS"]
    assert [line.split()[0] for line in peer.received] == said
    assert peer.messages == []
    (row,) = queued
    assert (row.state, row.attempts, row.recipients) == ("waiting", 1, (situation.address,))
    assert situation.says in row.last_error
    assert (attempted["state"], attempted["error"]) == ("waiting", row.last_error)
    deferred = f"mssante_deliveries_deferred_total{sorted(('other', situation.reason))}"
    assert growth(before) == {deferred: 1, "mssante_delivery_attempts_total['other']": 1}
