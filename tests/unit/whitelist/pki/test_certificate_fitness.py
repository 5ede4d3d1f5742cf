"""Keys, signatures and usages accepted for mail between operators."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mssante_operator.setup.testbed.certificate_profile import key_usage
from tests.support.lists.hierarchy import NOW, hierarchy, spare_key
from tests.support.lists.real import REAL_LIST, needs_real_data, real_trust
from whitelist.pki.certificate_fitness import lacks_client_auth, unfitness, weakness
from whitelist.pki.trust_store import ChainStatus, TrustStore

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.fr")])
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ANY, MAIL = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.EMAIL_PROTECTION
PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey
)
Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | dsa.DSAPublicKey


def made(
    *extensions: x509.ExtensionType,
    key: Key | None = None,
    digest: hashes.SHA224 | hashes.SHA256 | hashes.SHA512 | None = None,
) -> x509.Certificate:
    """A certificate of the issuing authority."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(hierarchy().intermediate.certificate.subject)
        .public_key(key or spare_key().public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                hierarchy().intermediate.key.public_key()
            ),
            critical=False,
        )
    )
    for value in extensions:
        builder = builder.add_extension(value, critical=False)
    return builder.sign(hierarchy().intermediate.key, digest or hashes.SHA256())


@pytest.mark.parametrize(
    ("usages", "fit", "lacking"),
    [
        ([SERVER, CLIENT], True, False),  # the real certificate of 2019 (DOMAIN U0)
        ([SERVER], True, True),
        ([CLIENT], True, False),
        ([ANY], True, False),
        ([SERVER, ANY], True, False),
        ([MAIL, SERVER], True, True),
        ([MAIL], False, True),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False, True),
    ],
)
def test_an_extended_usage_names_either_side(
    usages: list[x509.ObjectIdentifier], fit: bool, lacking: bool
) -> None:
    found = made(x509.ExtendedKeyUsage(usages))
    assert (unfitness(found) == "") is fit
    assert lacks_client_auth(found) is lacking


def test_no_usage_at_all_is_no_restriction() -> None:
    assert unfitness(made()) == ""
    assert not lacks_client_auth(made())


def test_the_key_must_be_allowed_to_sign() -> None:
    assert unfitness(made(key_usage("digital_signature"))) == ""
    assert "digital signatures" in unfitness(made(key_usage("key_encipherment")))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (partial(ec.generate_private_key, ec.SECP256R1()), ""),
        (partial(ed25519.Ed25519PrivateKey.generate), ""),
        (partial(ec.generate_private_key, ec.SECP224R1()), "its curve has 224 bits"),
        (partial(rsa.generate_private_key, 65537, 1024), "its RSA key has 1024 bits"),
        (partial(dsa.generate_private_key, 2048), "of a kind that is not accepted"),
    ],
)
def test_weak_keys_are_named(key: Callable[[], PrivateKey], said: str) -> None:
    certificate = made(key=key().public_key())
    assert (weakness(certificate) == "") is (said == "")
    assert said in weakness(certificate)
    verdict = TrustStore(
        (hierarchy().root.certificate,), (hierarchy().intermediate.certificate,)
    ).verify(certificate, NOW)
    assert verdict.status is (ChainStatus.WEAK if said else ChainStatus.TRUSTED)


def test_weak_signatures_are_named_but_for_the_anchors_own() -> None:
    weak, good = made(digest=hashes.SHA224()), made(digest=hashes.SHA512())
    assert weakness(weak) == "CN=a.fr: it is signed with SHA224, weaker than SHA-256"
    assert weakness(weak, anchor=True) == weakness(good) == ""


def test_a_weak_authority_makes_no_strong_chain() -> None:
    root, below = hierarchy().root, hierarchy().intermediate
    old = below.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(root.certificate.subject)
        .public_key(below.key.public_key())
        .serial_number(8)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    weak = builder.sign(root.key, hashes.SHA224())
    verdict = TrustStore((root.certificate,), (weak,)).verify(made(), NOW)
    assert verdict.status is ChainStatus.WEAK
    assert "ORGANISATIONS" in verdict.detail
    assert "SHA224" in verdict.detail


@needs_real_data
def test_a_real_server_certificate_of_production_is_good_enough() -> None:
    path = REAL_LIST.parent.parent / "igc-sante" / "prod-SERV-SSL-tops.demo.asipsante.fr-2019.pem"
    (found,) = x509.load_pem_x509_certificates(path.read_bytes())
    assert unfitness(found) == ""
    assert not lacks_client_auth(found)
    assert real_trust().verify(found, datetime(2020, 9, 13, tzinfo=UTC)).trusted
