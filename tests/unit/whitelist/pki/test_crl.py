"""Acceptance of revocation lists (RFC 5280 §5, §6.3; DOMAIN §9.62)."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import (
    Lifetime,
    RevocationAddresses,
    authority_name,
    key_usage,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import NOW, crl, hierarchy, server, spare_key
from tests.support.lists.real import REAL_INTERMEDIATE, REAL_ROOT, needs_real_data, real_octets
from whitelist.errors import CrlReason, CrlRefused
from whitelist.national.signed_file import embedded_certificate
from whitelist.pki.crl import RevocationList, accept_crl, distribution_points, signer_of
from whitelist.pki.distinguished_name import DistinguishedName

DAY = timedelta(days=1)
ROOT, INTERMEDIATE = hierarchy().root, hierarchy().intermediate
AUTHORITIES = (ROOT.certificate, INTERMEDIATE.certificate)
OCTETS = crl(INTERMEDIATE, [server("revoked.fr")], number=7)


def read(*arguments: object, **options: object) -> RevocationList:
    return RevocationList.read(crl(*arguments, **options))  # type: ignore[arg-type] # as crl's own


def refusal(octets: bytes) -> CrlReason:
    with pytest.raises(CrlRefused) as caught:
        accept_crl(RevocationList.read(octets), AUTHORITIES, NOW)
    assert str(caught.value) == f"{caught.value.reason}: {caught.value.detail}"
    assert "\n" not in caught.value.detail
    return caught.value.reason


def critical(value: x509.ExtensionType) -> tuple[x509.Extension[x509.ExtensionType], ...]:
    return (x509.Extension(value.oid, critical=True, value=value),)


def scope(
    *,
    users: bool = False,
    authorities: bool = False,
    reasons: Iterable[x509.ReasonFlags] = (),
    indirect: bool = False,
    attributes: bool = False,
    points: Iterable[str] = (),
) -> tuple[x509.Extension[x509.ExtensionType], ...]:
    """An IssuingDistributionPoint, critical as it must be."""
    return critical(
        x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(url) for url in points] or None,
            relative_name=None,
            only_contains_user_certs=users,
            only_contains_ca_certs=authorities,
            only_some_reasons=frozenset(reasons) or None,
            indirect_crl=indirect,
            only_contains_attribute_certs=attributes,
        )
    )


def test_facts_of_a_list_from_der_and_pem() -> None:
    found = RevocationList.read(OCTETS)
    assert found.issuer == DistinguishedName.from_certificate(INTERMEDIATE.certificate)
    assert (found.this_update, found.next_update) == (NOW - DAY, NOW + 7 * DAY)
    assert found.number == 7
    assert len(found.digest) == 64
    assert found.der == OCTETS
    pem = x509.load_der_x509_crl(OCTETS).public_bytes(Encoding.PEM)
    assert RevocationList.read(b"IGC-Sante\n" + pem) == found
    assert found != read(INTERMEDIATE, number=7)
    for part in ("number 7", "CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS", "2026-11-29"):
        assert part in str(found)


def test_a_list_is_in_date_until_just_before_its_next_update() -> None:
    found = RevocationList.read(OCTETS)
    assert found.in_date(found.this_update)
    assert not found.in_date(found.this_update - timedelta.resolution)
    assert found.in_date(found.next_update - timedelta.resolution)
    assert not found.in_date(found.next_update)


def test_a_list_is_refreshed_with_a_quarter_of_its_validity_left() -> None:
    assert RevocationList.read(OCTETS).refresh_at == NOW + 5 * DAY


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html>404</html>",
        OCTETS[:-1],
        OCTETS + b"x",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        ROOT.certificate_pem,
        ROOT.certificate.public_bytes(Encoding.DER),
    ],
    ids=[
        "empty",
        "html",
        "truncated",
        "trailing",
        "pem",
        "certificate",
        "certificate-der",
    ],
)
def test_what_is_no_list_is_unreadable(octets: bytes) -> None:
    assert refusal(octets) is CrlReason.UNREADABLE


@pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length must be")
@given(st.data())
def test_altered_octets_are_refused_and_raise_nothing_else(data: st.DataObject) -> None:
    octets = bytearray(OCTETS)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = RevocationList.read(bytes(octets))
        accept_crl(found, AUTHORITIES, NOW)
    except CrlRefused:
        return
    # The octet that counts the signature's unused bits is unsigned, and has no effect.
    assert found.crl.tbs_certlist_bytes == x509.load_der_x509_crl(OCTETS).tbs_certlist_bytes


@pytest.mark.parametrize(
    ("extensions", "part"),
    [
        (critical(x509.DeltaCRLIndicator(1)), "delta"),
        (scope(indirect=True), "indirect"),
        (scope(attributes=True), "attribute"),
        (critical(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0")), "1.2.3"),
    ],
)
def test_a_delta_or_partial_list_is_refused(
    extensions: tuple[x509.Extension[x509.ExtensionType], ...], part: str
) -> None:
    octets = crl(INTERMEDIATE, extensions=extensions)
    assert refusal(octets) is CrlReason.DELTA_OR_PARTIAL
    with pytest.raises(CrlRefused, match=part):
        RevocationList.read(octets)


@pytest.mark.parametrize(
    ("extensions", "said"),
    [
        ((), ""),
        (scope(users=True), "users only"),
        (scope(authorities=True), "authorities only"),
        (scope(reasons={x509.ReasonFlags.key_compromise}), "reasons keyCompromise only"),
        (scope(points=("http://a.fr/1",)), "distribution point http://a.fr/1"),
    ],
)
def test_the_scope_of_a_list_is_read_with_it(
    extensions: tuple[x509.Extension[x509.ExtensionType], ...], said: str
) -> None:
    found = read(INTERMEDIATE, extensions=extensions)
    accept_crl(found, AUTHORITIES, NOW)
    assert str(found.scope) == said
    assert (f"; {said})" in str(found)) is bool(said)


def test_a_list_names_serial_numbers() -> None:
    found = RevocationList.read(OCTETS)
    assert found.names(server("revoked.fr").certificate)
    assert not found.names(server("other.fr").certificate)


@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        (x509.CRLReason(x509.ReasonFlags.key_compromise), True),
        (x509.CertificateIssuer([x509.DirectoryName(authority_name("OTHER"))]), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), False),
    ],
)
def test_an_entry_that_says_something_critical_and_unknown_refuses_the_list(
    entry: x509.ExtensionType, *, taken: bool
) -> None:
    # RFC 5280 §5.3: such a list must not be used for revocation.
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(5)
        .revocation_date(NOW - DAY)
        .add_extension(entry, critical=True)
        .build()
    )
    octets = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(INTERMEDIATE.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_revoked_certificate(revoked)
        .sign(INTERMEDIATE.key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    if taken:
        assert RevocationList.read(octets).serials == {5}
    else:
        assert refusal(octets) is CrlReason.DELTA_OR_PARTIAL


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html>", b"\n<HTML><head>", b"<?xml version='1.0'?>"]
)
def test_a_web_page_is_called_so(page: bytes) -> None:
    # DOMAIN U1.3: the national host answers too many requests with a page and status 200.
    with pytest.raises(CrlRefused, match=r"unreadable: a web page of \d+ octets instead"):
        RevocationList.read(page + b" " * 800)


def test_a_list_is_signed_by_the_authority_that_it_names() -> None:
    assert signer_of(RevocationList.read(OCTETS), AUTHORITIES) == INTERMEDIATE.certificate
    assert accept_crl(read(ROOT), AUTHORITIES, NOW) == ROOT.certificate


def test_a_list_of_an_unknown_issuer_is_refused() -> None:
    with pytest.raises(CrlRefused, match="of no configured authority") as caught:
        accept_crl(RevocationList.read(OCTETS), (ROOT.certificate,), NOW)
    assert caught.value.reason is CrlReason.UNKNOWN_ISSUER
    # A server may not sign lists, though it is trusted and signs correctly.
    assert refusal(crl(server("a.fr"))) is CrlReason.UNKNOWN_ISSUER


def test_a_list_by_another_key_of_the_same_name_is_refused() -> None:
    theirs = Credential(INTERMEDIATE.certificate, spare_key())
    assert refusal(crl(theirs)) is CrlReason.BAD_SIGNATURE


def test_a_list_whose_last_octet_is_changed_is_refused() -> None:
    changed = OCTETS[:-1] + bytes([OCTETS[-1] ^ 1])
    assert refusal(changed) is CrlReason.BAD_SIGNATURE


def test_a_list_signed_with_sha1_is_refused() -> None:
    # cryptography does not sign with SHA-1, so the octets are altered and signed by hand.
    sha256_with_rsa = bytes.fromhex("06092a864886f70d01010b")
    octets = OCTETS.replace(sha256_with_rsa, sha256_with_rsa[:-1] + b"\x05")
    signed = x509.load_der_x509_crl(octets).tbs_certlist_bytes
    weak = hashes.SHA1()  # noqa: S303 # its weakness is the point
    octets = octets[:-256] + INTERMEDIATE.key.sign(signed, padding.PKCS1v15(), weak)
    public, found = INTERMEDIATE.key.public_key(), x509.load_der_x509_crl(octets)
    public.verify(found.signature, found.tbs_certlist_bytes, padding.PKCS1v15(), weak)
    assert refusal(octets) is CrlReason.BAD_SIGNATURE


def test_an_authority_with_two_keys_signs_with_either() -> None:
    theirs = Hierarchy.create(NOW)
    both = (*AUTHORITIES, theirs.intermediate.certificate)
    assert signer_of(read(theirs.intermediate), both) == theirs.intermediate.certificate
    assert signer_of(read(INTERMEDIATE), both) == INTERMEDIATE.certificate


def test_an_authority_whose_key_usage_excludes_lists_signs_none() -> None:
    usage = critical(key_usage("key_cert_sign"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(authority_name("MUTE"))
        .issuer_name(ROOT.certificate.subject)
        .public_key(spare_key().public_key())
        .serial_number(3)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(usage[0].value, critical=True)
        .sign(ROOT.key, hashes.SHA256())
    )
    with pytest.raises(CrlRefused, match="unknown-issuer"):
        signer_of(read(Credential(certificate, spare_key())), (certificate,))


def test_dates_are_looked_at_when_a_list_is_accepted() -> None:
    assert refusal(crl(ROOT, issued=NOW + timedelta(seconds=1))) is CrlReason.NOT_YET_VALID
    assert refusal(crl(ROOT, issued=NOW - 2 * DAY, days=2)) is CrlReason.EXPIRED
    accept_crl(read(ROOT, issued=NOW, days=1), AUTHORITIES, NOW)


def test_a_list_without_an_end_is_refused() -> None:
    # cryptography cannot make such a list; nextUpdate is cut out of a list, unsigned.
    assert refusal(without_next_update(OCTETS)) is CrlReason.UNREADABLE


def without_next_update(der: bytes) -> bytes:
    """Cut out the second UTCTime (13 octets of text), and shorten the enclosing lengths."""
    first = der.index(b"\x17\x0d")
    second = der.index(b"\x17\x0d", first + 15)
    cut = bytearray(der[:second] + der[second + 15 :])
    assert cut[0:2] == cut[4:6] == b"\x30\x82"
    for position in (2, 6):
        length = int.from_bytes(cut[position : position + 2], "big") - 15
        cut[position : position + 2] = length.to_bytes(2, "big")
    return bytes(cut)


@pytest.mark.parametrize(
    ("number", "issued"),
    [(6, NOW - timedelta(hours=1)), (8, NOW - 2 * DAY), (6, NOW - 2 * DAY)],
)
def test_a_list_older_by_number_or_date_than_the_one_kept_is_refused(
    number: int, issued: object
) -> None:
    kept = RevocationList.read(OCTETS)
    with pytest.raises(CrlRefused, match="in use") as caught:
        accept_crl(read(INTERMEDIATE, number=number, issued=issued), AUTHORITIES, NOW, kept)
    assert caught.value.reason is CrlReason.OLDER_THAN_KEPT


def test_a_list_that_ran_out_keeps_no_later_one_out() -> None:
    """A newly set up authority counts from 1 again."""
    kept = read(INTERMEDIATE, number=900, issued=NOW - 2 * DAY, days=1)
    accept_crl(read(INTERMEDIATE, number=1, issued=NOW - DAY), AUTHORITIES, NOW, kept)
    with pytest.raises(CrlRefused, match="older-than-kept"):  # an older list is still refused
        accept_crl(read(INTERMEDIATE, number=1, issued=NOW - 3 * DAY), AUTHORITIES, NOW, kept)


def test_a_newer_list_and_the_kept_one_itself_are_accepted() -> None:
    kept = RevocationList.read(OCTETS)
    accept_crl(kept, AUTHORITIES, NOW, kept)
    accept_crl(read(INTERMEDIATE, number=8, issued=NOW), AUTHORITIES, NOW, kept)


def test_distribution_points_are_the_http_ones() -> None:
    addresses = RevocationAddresses(
        crls=("ldap://a.fr/CN=x?certificaterevocationlist", "http://a.fr/a.crl", "HTTP://b.fr/b")
    )
    issued = hierarchy().issue_server(
        x509.Name([]), ["a.fr"], Lifetime.of_leaf(NOW), key=spare_key(), revocation=addresses
    )
    assert distribution_points(issued.certificate) == ("http://a.fr/a.crl", "HTTP://b.fr/b")
    assert distribution_points(server("a.fr").certificate) == ()


@pytest.mark.parametrize(
    "point",
    [
        x509.DistributionPoint(
            [x509.UniformResourceIdentifier("http://a.fr/")],
            None,
            None,
            [x509.DirectoryName(authority_name("OTHER"))],
        ),
        x509.DistributionPoint(None, None, None, [x509.DirectoryName(authority_name("OTHER"))]),
        x509.DistributionPoint([x509.DNSName("http://a.fr")], None, None, None),
    ],
)
def test_points_of_other_issuers_or_kinds_are_left_out(point: x509.DistributionPoint) -> None:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ROOT.certificate.subject)
        .public_key(spare_key().public_key())
        .serial_number(3)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
        .sign(ROOT.key, hashes.SHA256())
    )
    assert distribution_points(certificate) == ()


@needs_real_data
def test_distribution_points_of_the_real_certificates() -> None:
    (root,) = x509.load_pem_x509_certificates(REAL_ROOT.read_bytes())
    (intermediate,) = x509.load_pem_x509_certificates(REAL_INTERMEDIATE.read_bytes())
    signer = x509.load_der_x509_certificate(embedded_certificate(real_octets()))
    assert distribution_points(root) == ()
    folder = "http://igc-sante.esante.gouv.fr/CRL/"
    assert distribution_points(intermediate) == (folder + "ACR-EL.crl",)
    assert distribution_points(signer) == (folder + "ACI-EL-ORG.crl",)
