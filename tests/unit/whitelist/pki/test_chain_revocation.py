"""Revocation over the whole chain, by policy (RFC 5280 §6.3; DOMAIN §9.15, §9.62)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import (
    Extensions,
    Lifetime,
    RevocationAddresses,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import (
    NOW,
    crl,
    crls,
    hierarchy,
    list_signer,
    server,
    spare_key,
    trust,
)
from whitelist.errors import CrlReason, CrlRefused
from whitelist.pki.crl import RevocationList, RevocationPolicy
from whitelist.pki.crl_scope import EVERY_REASON
from whitelist.pki.trust_store import ChainStatus, TrustStore

PEER = server("relay.a.fr")
ROOT, INTERMEDIATE = hierarchy().root, hierarchy().intermediate
DAY = timedelta(days=1)
CHECKING = [RevocationPolicy.REFUSE, RevocationPolicy.ACCEPT]


def checking(policy: RevocationPolicy, *octets: bytes) -> TrustStore:
    """The test store under a policy, with these lists."""
    return TrustStore(
        (ROOT.certificate,),
        (INTERMEDIATE.certificate,),
        tuple(map(RevocationList.read, octets)),
        policy,
    )


def expired(issuer: Credential, *revoked: Credential) -> bytes:
    return crl(issuer, revoked, issued=NOW - 9 * DAY)


@pytest.mark.parametrize("policy", CHECKING)
def test_lists_in_date_that_do_not_name_the_chain_make_it_trusted(policy: RevocationPolicy) -> None:
    store = checking(policy, crl(ROOT, days=4), crl(INTERMEDIATE, [server("other.fr")]))
    for certificate in (PEER.certificate, list_signer().certificate):
        verdict = store.verify(certificate, NOW)
        assert verdict.status is ChainStatus.TRUSTED
        assert not verdict.alarm
        assert verdict.crl_until == NOW + 3 * DAY  # the earlier of the two


@pytest.mark.parametrize("policy", CHECKING)
def test_a_revoked_certificate_is_refused(policy: RevocationPolicy) -> None:
    store = checking(policy, crl(ROOT), crl(INTERMEDIATE, [server("other.fr"), PEER]))
    verdict = store.verify(PEER.certificate, NOW)
    assert verdict.status is ChainStatus.REVOKED
    assert not verdict.trusted
    assert verdict.detail.startswith("certificate revoked: CN=relay.a.fr,")
    assert verdict.crl_until == NOW + 7 * DAY


@pytest.mark.parametrize("policy", CHECKING)
@pytest.mark.parametrize("below", [[], [crl(INTERMEDIATE)], [expired(INTERMEDIATE)]])
def test_a_revoked_intermediate_takes_all_below_with_it(
    policy: RevocationPolicy, below: list[bytes]
) -> None:
    """Even if the intermediate's own list, which OpenSSL checks first, is missing or expired."""
    verdict = checking(policy, crl(ROOT, [INTERMEDIATE]), *below).verify(PEER.certificate, NOW)
    assert verdict.status is ChainStatus.REVOKED
    assert "CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS" in verdict.detail


@pytest.mark.parametrize("policy", CHECKING)
@pytest.mark.parametrize("above", [[], [crl(ROOT)], [expired(ROOT)]])
@pytest.mark.parametrize("by", [crl(INTERMEDIATE, [PEER]), expired(INTERMEDIATE, PEER)])
def test_a_revoked_certificate_is_refused_even_by_a_list_that_is_over(
    policy: RevocationPolicy, above: list[bytes], by: bytes
) -> None:
    verdict = checking(policy, *above, by).verify(PEER.certificate, NOW)
    assert verdict.status is ChainStatus.REVOKED


@pytest.mark.parametrize(
    ("octets", "part"),
    [
        ([], "no revocation list of CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"),
        ([crl(ROOT)], "no revocation list of CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"),
        ([crl(INTERMEDIATE)], "no revocation list of CN=TEST AC RACINE"),
        ([crl(ROOT), expired(INTERMEDIATE)], "to 2026-11-21T12:00:00+00:00) is not in date"),
        ([expired(ROOT), crl(INTERMEDIATE)], "CN=TEST AC RACINE IGC-SANTE"),
        ([crl(ROOT), crl(INTERMEDIATE, issued=NOW + DAY)], "is not in date as of 2026-11-22"),
    ],
    ids=["none", "no-own", "no-root", "expired", "root-expired", "future"],
)
def test_missing_and_expired_lists_refuse_or_raise_an_alarm(octets: list[bytes], part: str) -> None:
    """DOMAIN §9.62: the choice between both is configurable."""
    refused = checking(RevocationPolicy.REFUSE, *octets).verify(PEER.certificate, NOW)
    assert refused.status is ChainStatus.NO_CRL
    assert not refused.trusted
    assert part in refused.detail
    accepted = checking(RevocationPolicy.ACCEPT, *octets).verify(PEER.certificate, NOW)
    assert accepted.trusted
    assert accepted.alarm == refused.detail
    assert accepted.crl_until == refused.crl_until
    assert (refused.crl_until is None) == (not octets)
    off = checking(RevocationPolicy.OFF, *octets).verify(PEER.certificate, NOW)
    assert off.trusted
    assert not off.alarm


def test_without_a_policy_lists_are_not_looked_at() -> None:
    verdict = checking(RevocationPolicy.OFF, *[one.der for one in crls(PEER)]).verify(
        PEER.certificate, NOW
    )
    assert verdict == trust().verify(PEER.certificate, NOW)
    assert verdict.trusted
    assert verdict.crl_until is None


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (NOW - timedelta(seconds=1), ChainStatus.NO_CRL),
        (NOW, ChainStatus.TRUSTED),
        (NOW + 2 * DAY - timedelta(seconds=1), ChainStatus.TRUSTED),
        (NOW + 2 * DAY, ChainStatus.NO_CRL),
    ],
)
def test_the_dates_of_a_list_count_to_the_second(at: datetime, status: ChainStatus) -> None:
    store = checking(RevocationPolicy.REFUSE, crl(ROOT), crl(INTERMEDIATE, issued=NOW, days=2))
    assert store.verify(PEER.certificate, at).status is status


def test_dates_and_chain_are_told_before_revocation() -> None:
    store = checking(RevocationPolicy.REFUSE, *[one.der for one in crls(PEER)])
    late = PEER.certificate.not_valid_after_utc + timedelta(seconds=1)
    assert store.verify(PEER.certificate, late).status is ChainStatus.EXPIRED
    theirs = Hierarchy.create(NOW)
    assert store.verify(theirs.root.certificate, NOW).status is ChainStatus.UNTRUSTED


def test_a_forged_list_never_enters_a_store() -> None:
    forged = crl(Credential(INTERMEDIATE.certificate, spare_key()), [PEER])
    with pytest.raises(CrlRefused) as caught:
        checking(RevocationPolicy.REFUSE, forged)
    assert caught.value.reason is CrlReason.BAD_SIGNATURE
    with pytest.raises(CrlRefused, match="unknown-issuer"):
        trust().with_crls([RevocationList.read(crl(PEER))])


def test_of_several_lists_of_an_authority_the_newest_counts() -> None:
    old = crl(INTERMEDIATE, [PEER], number=1, issued=NOW - 2 * DAY)  # for example on hold
    new = crl(INTERMEDIATE, number=2)
    for octets in ([old, new], [new, old]):
        store = checking(RevocationPolicy.REFUSE, crl(ROOT), *octets)
        assert store.verify(PEER.certificate, NOW).trusted


def scope(
    *,
    users: bool = False,
    authorities: bool = False,
    reasons: Iterable[x509.ReasonFlags] = (),
    point: str = "",
) -> Extensions:
    """An IssuingDistributionPoint, critical as it must be."""
    value = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(point)] if point else None,
        relative_name=None,
        only_contains_user_certs=users,
        only_contains_ca_certs=authorities,
        only_some_reasons=frozenset(reasons) or None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return (x509.Extension(value.oid, critical=True, value=value),)


COMPROMISED = {x509.ReasonFlags.key_compromise}
OUT_OF_SCOPE = {
    "authorities only": scope(authorities=True),
    "distribution point http://a.fr/1.crl": scope(point="http://a.fr/1.crl"),
    "for some reasons only; lacking: aACompromise": scope(reasons=COMPROMISED),
}


@pytest.mark.parametrize("said", OUT_OF_SCOPE)
def test_a_list_of_another_scope_does_not_clear_a_certificate(said: str) -> None:
    partial = crl(INTERMEDIATE, extensions=OUT_OF_SCOPE[said])
    refused = checking(RevocationPolicy.REFUSE, crl(ROOT), partial).verify(PEER.certificate, NOW)
    assert refused.status is ChainStatus.NO_CRL
    assert "CN=relay.a.fr" in refused.detail
    assert said in refused.detail
    accepted = checking(RevocationPolicy.ACCEPT, crl(ROOT), partial).verify(PEER.certificate, NOW)
    assert accepted.alarm == refused.detail


@pytest.mark.parametrize("policy", CHECKING)
@pytest.mark.parametrize("said", OUT_OF_SCOPE)
def test_who_is_on_a_list_is_revoked_whatever_its_scope(
    policy: RevocationPolicy, said: str
) -> None:
    """A list's statement about a certificate of its authority is true, and never ignored."""
    partial = crl(INTERMEDIATE, [PEER], extensions=OUT_OF_SCOPE[said])
    for others in ([], [crl(INTERMEDIATE, number=2)]):
        store = checking(policy, crl(ROOT), partial, *others)
        assert store.verify(PEER.certificate, NOW).status is ChainStatus.REVOKED


@pytest.mark.parametrize("policy", CHECKING)
def test_lists_by_scope_serve_together(policy: RevocationPolicy) -> None:
    """Lists of users and of authorities; lists of a reason and of the other reasons."""
    root = crl(ROOT, extensions=scope(authorities=True))
    some = crl(INTERMEDIATE, extensions=scope(users=True, reasons=COMPROMISED))
    rest = crl(INTERMEDIATE, extensions=scope(users=True, reasons=EVERY_REASON - COMPROMISED))
    of_none = crl(INTERMEDIATE, extensions=scope(authorities=True))
    store = checking(policy, root, some, rest, of_none)
    verdict = store.verify(PEER.certificate, NOW)
    assert verdict.trusted
    assert not verdict.alarm
    assert store.missing_crls(NOW) == ()
    assert len(store.crls) == 4
    assert checking(policy, root, some, of_none).missing_crls(NOW)


@pytest.mark.parametrize("policy", CHECKING)
def test_a_list_of_the_distribution_point_that_a_certificate_names(
    policy: RevocationPolicy,
) -> None:
    lists = [crl(ROOT), crl(INTERMEDIATE, extensions=scope(point="http://a.fr/1.crl"))]
    store = checking(policy, *lists)
    here, there = (
        hierarchy()
        .issue_server(
            PEER.certificate.subject,
            ["relay.a.fr"],
            Lifetime.of_leaf(NOW),
            key=spare_key(),
            revocation=RevocationAddresses(crls=(f"http://a.fr/{part}.crl",)),
        )
        .certificate
        for part in (1, 2)
    )
    assert not store.verify(here, NOW).alarm
    assert store.verify(here, NOW).trusted
    verdict = store.verify(there, NOW)
    assert verdict.alarm or verdict.status is ChainStatus.NO_CRL
    assert (
        store.missing_crls(NOW) == ()
    )  # the distribution points of peers are unknown before they come


def test_a_list_that_ran_out_is_history_once_newer_ones_cover_all() -> None:
    """An authority that changes its scopes ends the old list; its certificates on hold are free."""
    old = crl(INTERMEDIATE, [PEER], issued=NOW - 9 * DAY)
    users = crl(INTERMEDIATE, extensions=scope(users=True))
    some = crl(INTERMEDIATE, extensions=scope(users=True, reasons=COMPROMISED))
    assert (
        checking(RevocationPolicy.REFUSE, crl(ROOT), old, users)
        .verify(PEER.certificate, NOW)
        .trusted
    )
    assert checking(RevocationPolicy.REFUSE, crl(ROOT), old, some).verify(
        PEER.certificate, NOW
    ).status is (ChainStatus.REVOKED)


def test_what_is_lacking_is_said_by_authority() -> None:
    assert len(checking(RevocationPolicy.REFUSE).missing_crls(NOW)) == 2
    assert checking(RevocationPolicy.OFF).missing_crls(NOW) == ()
    both = checking(RevocationPolicy.ACCEPT, crl(ROOT), crl(INTERMEDIATE))
    assert both.missing_crls(NOW) == ()
    assert len(both.missing_crls(NOW + 10 * DAY)) == 2
    (said,) = both.with_crls(both.crls[:1]).missing_crls(NOW)
    assert said.startswith("no revocation list of CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS")
    authorities = crl(INTERMEDIATE, extensions=scope(authorities=True))
    (said,) = checking(RevocationPolicy.REFUSE, crl(ROOT), authorities).missing_crls(NOW)
    assert "covers users, only the list number 1" in said


@pytest.mark.parametrize(
    ("octets", "stalled", "with_ocsp"),
    [
        ([], True, True),
        ([crl(ROOT)], True, False),
        ([crl(INTERMEDIATE)], True, True),
        ([crl(ROOT), expired(INTERMEDIATE)], True, False),
        ([crl(ROOT), crl(INTERMEDIATE)], False, False),
        ([crl(ROOT), crl(INTERMEDIATE, [PEER])], False, False),
    ],
    ids=["none", "root only", "no root", "expired", "all", "all, one revoked"],
)
def test_when_every_peer_is_put_off(octets: list[bytes], *, stalled: bool, with_ocsp: bool) -> None:
    store = checking(RevocationPolicy.REFUSE, *octets)
    assert bool(store.refusal_of_all(NOW)) is stalled
    assert bool(store.refusal_of_all(NOW, ocsp=True)) is with_ocsp
    for policy in (RevocationPolicy.ACCEPT, RevocationPolicy.OFF):
        assert checking(policy, *octets).refusal_of_all(NOW) == ""


def test_one_authority_with_its_lists_is_enough_to_go_on() -> None:
    other = Hierarchy.create(NOW)
    store = TrustStore(
        (ROOT.certificate, other.root.certificate),
        (INTERMEDIATE.certificate, other.intermediate.certificate),
        crls(),
        RevocationPolicy.REFUSE,
    )
    assert len(store.missing_crls(NOW)) == 2
    assert store.refusal_of_all(NOW) == ""


def test_a_renewed_authority_shares_its_list_with_its_old_certificate() -> None:
    certificate = INTERMEDIATE.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(77)
        .not_valid_before(NOW)
        .not_valid_after(NOW + 9 * DAY)
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    renewed = Credential(builder.sign(ROOT.key, hashes.SHA256()), INTERMEDIATE.key)
    for pair in ((certificate, renewed.certificate), (renewed.certificate, certificate)):
        store = TrustStore((ROOT.certificate,), pair, crls(), RevocationPolicy.REFUSE)
        assert store.verify(PEER.certificate, NOW).trusted
        revoked = store.with_crls(crls(PEER))
        assert revoked.verify(PEER.certificate, NOW).status is ChainStatus.REVOKED


def test_an_anchor_itself_is_judged_by_its_own_list() -> None:
    store = checking(RevocationPolicy.REFUSE, crl(ROOT))
    assert store.verify(ROOT.certificate, NOW).trusted
    assert checking(RevocationPolicy.REFUSE).verify(ROOT.certificate, NOW).status is (
        ChainStatus.NO_CRL
    )


def test_a_store_with_other_lists_is_another_generation() -> None:
    plain = checking(RevocationPolicy.REFUSE)
    first, second = plain.with_crls(crls()), plain.with_crls(crls(PEER))
    assert first.revocation is RevocationPolicy.REFUSE
    assert plain.crls == ()  # unchanged
    assert first.pem == plain.pem
    generations = [
        plain.generation,
        first.generation,
        second.generation,
        checking(RevocationPolicy.ACCEPT).generation,
        trust().generation,
        TrustStore((ROOT.certificate,), (), revocation=RevocationPolicy.REFUSE).generation,
    ]
    assert len(set(generations)) == len(generations)
    assert plain.with_crls(reversed(first.crls)).generation == first.generation
