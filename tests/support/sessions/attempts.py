"""Attempts to send, for the tests of admission: a real list, real certificates, every fact at hand.

The list is signed and read back, the certificates are of the test hierarchy and judged by the real
trust store.  `attempt` and `local` make attempts of which every rule approves, but for the facts
that a test gives.
"""

from datetime import timedelta
from functools import cache
from typing import Any

from mssante_operator.setup.testbed.credential import Credential
from relay.policy.admission import (
    AdmissionFacts,
    AdmissionPolicy,
    LocalUser,
    Peer,
)
from relay.policy.facts import MAX_RECEIVED
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.recipient import Recipient, RecipientStatus
from relay.smtp.address import SmtpAddress, parse_address
from relay.smtp.headers import HeaderFacts
from tests.support.lists.hierarchy import NOW, SIGNER, listed, server, signed_list, trust
from whitelist.national.lookup import WhiteList
from whitelist.national.reader import read_list
from whitelist.pki.trust_store import CertificateFacts, ChainStatus, ChainVerdict

PEERS = ("b1", "b2", "c", "intruder")

# Which name speaks for which domain: several names for b.mssante.fr, several domains for b1, a
# domain below another that belongs to somebody else, and none for the intruder.
LISTED = {
    ("b.mssante.fr", "b1"),
    ("b.mssante.fr", "b2"),
    ("clinique.mssante.fr", "b1"),
    ("sub.b.mssante.fr", "c"),
    ("mss.example.org", "c"),
    ("patient.mssante.fr", "b2"),
}
DOMAINS = sorted({domain for domain, _ in LISTED} | {"a.mssante.fr", "mssante.fr", "evil.fr"})

LIMIT = 1000
POLICY = AdmissionPolicy(LIMIT, HeaderFromPolicy.REFUSE)


@cache
def credential(name: str) -> Credential:
    return server(f"smtp.{name}.mssante.fr")


@cache
def certificate(name: str) -> CertificateFacts:
    return CertificateFacts.from_certificate(credential(name).certificate)


@cache
def white_list() -> WhiteList:
    entries = [listed(domain, str(certificate(name).subject)) for domain, name in sorted(LISTED)]
    return read_list(signed_list(entries), trust(), SIGNER, NOW)


@cache
def verdict(status: ChainStatus) -> ChainVerdict:
    """A chain that stands so, as the trust store says it."""
    late = timedelta(days=4 * 365)
    at = {ChainStatus.EXPIRED: NOW + late, ChainStatus.NOT_YET_VALID: NOW - late}.get(status, NOW)
    made = {ChainStatus.TRUSTED, ChainStatus.EXPIRED, ChainStatus.NOT_YET_VALID}
    if status not in made:
        return ChainVerdict(status, f"the chain is {status}")
    found = trust().verify(credential("b1").certificate, at)
    assert found.status is status
    return found


def peer(name: str = "b1", status: ChainStatus = ChainStatus.TRUSTED) -> Peer:
    return Peer("TLSv1.3", "TLS_AES_256_GCM_SHA384", certificate(name), verdict(status))


def attempt(origin: Peer | LocalUser | None = None, **facts: Any) -> AdmissionFacts:
    """An attempt of which every rule approves, but for these facts."""
    good = AdmissionFacts(
        origin or peer(),
        POLICY,
        white_list(),
        "",
        sender_stated=True,
        sender=SmtpAddress("dr", "b.mssante.fr"),
        size=LIMIT,
        recipient=Recipient(SmtpAddress("claire.martin", "a.mssante.fr"), RecipientStatus.ACTIVE),
        header=HeaderFacts(frozenset({"b.mssante.fr"}), MAX_RECEIVED),
    )
    return good._replace(**facts)


LOCAL = LocalUser(RecipientStatus.ACTIVE)


def local(**facts: object) -> AdmissionFacts:
    """The same for one of our own users."""
    facts = {
        "sender": SmtpAddress("claire.martin", "a.mssante.fr"),
        "header": HeaderFacts(frozenset({"a.mssante.fr"})),
        "recipient": Recipient(SmtpAddress("dr", "b.mssante.fr"), RecipientStatus.FOREIGN),
    } | facts
    return attempt(LOCAL, **facts)


def to(state: RecipientStatus, address: str = "x@a.mssante.fr") -> Recipient:
    return Recipient(parse_address(address), state)


def authors(*domains: str) -> HeaderFacts:
    return HeaderFacts(frozenset(domains))
