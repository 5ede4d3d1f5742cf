"""Chains to IGC-Santé (DOMAIN §2.5, §3.2, §9.4)."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import Lifetime
from tests.support.lists.hierarchy import (
    NOW,
    hierarchy,
    list_signer,
    server,
    spare_key,
    trust,
    write_trust,
)
from tests.support.lists.real import needs_real_data, real_octets, real_trust
from whitelist.national.signed_file import embedded_certificate
from whitelist.pki.certificates import read_der
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import CertificateFacts, ChainStatus, TrustStore

PEER = server("relay.a.fr")
DER = PEER.certificate.public_bytes(Encoding.DER)


def test_facts_of_a_certificate() -> None:
    facts = CertificateFacts.from_certificate(read_der(DER))
    assert facts == CertificateFacts.from_certificate(PEER.certificate)
    assert facts.subject == DistinguishedName.parse(
        "CN=relay.a.fr,OU=1750000001,O=CHU DE TEST,ST=Paris (75),C=FR"
    )
    assert facts.issuer.common_name == "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"
    assert facts.serial == PEER.certificate.serial_number
    assert len(facts.fingerprint) == 64
    assert facts.not_before == NOW - timedelta(days=1)
    assert facts.not_after.tzinfo is not None


@pytest.mark.parametrize("der", [b"", b"x", DER[:-1], DER + b"x"])
def test_facts_of_what_is_no_certificate(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)parsing"):
        CertificateFacts.from_certificate(read_der(der))


@needs_real_data
def test_facts_of_the_real_signer() -> None:
    facts = CertificateFacts.from_certificate(read_der(embedded_certificate(real_octets())))
    assert facts.subject == DistinguishedName.parse(
        "CN=alb.mssante.fr,OU=347976684200724,O=CAPGEMINI TECHNOLOGY SERVICES,"
        "ST=Hauts-de-Seine (92),C=FR"
    )
    assert facts.issuer == DistinguishedName.parse(
        "CN=AC IGC-SANTE ELEMENTAIRE ORGANISATIONS,OU=IGC-SANTE,OU=0002 187512751,O=ASIP-SANTE,C=FR"
    )
    assert facts.not_after == datetime(2026, 8, 23, 13, 54, 23, tzinfo=UTC)


def test_servers_and_the_signer_are_trusted() -> None:
    # The signer has only emailProtection: no extended key usage is required (DOMAIN §9.4).
    for certificate in (PEER.certificate, list_signer().certificate):
        verdict = trust().verify(certificate, NOW)
        assert verdict.trusted
        assert verdict.status is ChainStatus.TRUSTED


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (PEER.certificate.not_valid_before_utc, ChainStatus.TRUSTED),
        (PEER.certificate.not_valid_before_utc - timedelta(seconds=1), ChainStatus.NOT_YET_VALID),
        (PEER.certificate.not_valid_after_utc, ChainStatus.TRUSTED),
        (PEER.certificate.not_valid_after_utc + timedelta(seconds=1), ChainStatus.EXPIRED),
        (NOW + timedelta(days=50 * 365), ChainStatus.EXPIRED),
    ],
)
def test_the_instant_counts_to_the_second(at: datetime, status: ChainStatus) -> None:
    assert trust().verify(PEER.certificate, at).status is status


def test_an_instant_is_the_same_in_every_time_zone() -> None:
    limit = PEER.certificate.not_valid_after_utc.astimezone(ZoneInfo("Pacific/Kiritimati"))
    assert trust().verify(PEER.certificate, limit).trusted
    assert not trust().verify(PEER.certificate, limit + timedelta(seconds=1)).trusted
    with pytest.raises(ValueError, match="no time zone"):
        trust().verify(PEER.certificate, NOW.replace(tzinfo=None))


def test_the_detail_names_the_certificate_at_fault() -> None:
    verdict = trust().verify(PEER.certificate, NOW + timedelta(days=50 * 365))
    assert "CN=TEST AC RACINE IGC-SANTE ELEMENTAIRE" in verdict.detail
    verdict = trust().verify(PEER.certificate, NOW + timedelta(days=4 * 365))
    assert "expired: CN=relay.a.fr" in verdict.detail


def test_other_authorities_of_the_same_names_are_not_trusted() -> None:
    theirs = Hierarchy.create(NOW)
    peer = theirs.issue_server(
        PEER.certificate.subject, ["relay.a.fr"], Lifetime.of_leaf(NOW), key=spare_key()
    )
    assert trust().verify(peer.certificate, NOW).status is ChainStatus.UNTRUSTED
    assert trust().verify(theirs.root.certificate, NOW).status is ChainStatus.UNTRUSTED


def test_an_intermediate_is_needed_and_is_no_anchor_by_itself() -> None:
    root, intermediate = hierarchy().root.certificate, hierarchy().intermediate.certificate
    assert not TrustStore((root,), ()).verify(PEER.certificate, NOW).trusted
    assert not TrustStore((intermediate,), ()).verify(PEER.certificate, NOW).trusted
    with pytest.raises(ValueError, match="no trust anchor"):
        TrustStore((), (intermediate,))


def test_a_certificate_without_authority_key_identifier_fails_the_strict_checks() -> None:
    issuer = hierarchy().intermediate
    builder = (
        x509.CertificateBuilder()
        .subject_name(PEER.certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(spare_key().public_key())
        .serial_number(9)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    verdict = trust().verify(builder.sign(issuer.key, hashes.SHA256()), NOW)
    assert verdict.status is ChainStatus.UNTRUSTED
    assert "Missing Authority Key Identifier" in verdict.detail


def test_a_subject_without_name_is_judged_by_its_chain() -> None:
    nobody = hierarchy().issue_server(
        x509.Name([]), ["relay.a.fr"], Lifetime.of_leaf(NOW), key=spare_key()
    )
    assert trust().verify(nobody.certificate, NOW + timedelta(days=4 * 365)).detail


@pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length must be")
def test_a_certificate_with_any_octet_changed_is_never_trusted() -> None:
    read = 0
    for position in range(0, len(DER), 3):
        changed = bytearray(DER)
        changed[position] ^= 1 << position // 3 % 8
        try:
            certificate = x509.load_der_x509_certificate(bytes(changed))
        except (ValueError, x509.InvalidVersion):
            continue
        read += 1
        assert trust().verify(certificate, NOW).status is not ChainStatus.TRUSTED, position
    assert read > 100


def test_files_make_the_same_store_and_its_pem_serves_tls(tmp_path: Path) -> None:
    anchor, intermediate = write_trust(tmp_path)
    store = TrustStore.from_files([anchor], [intermediate])
    assert store == trust()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=store.pem)
    assert context.cert_store_stats() == {"x509": 2, "crl": 0, "x509_ca": 2}


@needs_real_data
@pytest.mark.parametrize(
    ("at", "status"),
    [
        (datetime(2025, 3, 1, tzinfo=UTC), ChainStatus.TRUSTED),
        (datetime(2026, 11, 22, tzinfo=UTC), ChainStatus.EXPIRED),
        (datetime(2022, 1, 1, tzinfo=UTC), ChainStatus.NOT_YET_VALID),
    ],
)
def test_the_real_chain_passes_the_strict_checks(at: datetime, status: ChainStatus) -> None:
    signer = x509.load_der_x509_certificate(embedded_certificate(real_octets()))
    assert real_trust().verify(signer, at).status is status
