"""The test hierarchy has the form of IGC-Santé (DOMAIN §2.3, §2.5, §3.1)."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from mssante_operator.setup.testbed.ca import Hierarchy, issue_crl
from mssante_operator.setup.testbed.certificate_profile import (
    Lifetime,
    RevocationAddresses,
    Subject,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import (
    NOW,
    hierarchy,
    list_signer,
    server,
    spare_key,
    trust,
    write_trust,
)
from tests.support.lists.real import REAL_INTERMEDIATE, REAL_ROOT, needs_real_data, real_octets
from whitelist.errors import TrustFileError
from whitelist.national.signed_file import embedded_certificate
from whitelist.pki.crl import distribution_points
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import TrustStore

# A testbed leaves out extensions that only serve revocation, or repeat the validity.
LEFT_OUT = {
    ExtensionOID.CRL_DISTRIBUTION_POINTS,
    ExtensionOID.FRESHEST_CRL,
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    x509.ObjectIdentifier("2.5.29.16"),
}


def profile(certificate: x509.Certificate) -> dict[str, bool]:
    """OID to extension and whether it is critical."""
    return {
        extension.oid.dotted_string: extension.critical
        for extension in certificate.extensions
        if extension.oid not in LEFT_OUT
    }


def types(name: x509.Name) -> list[x509.ObjectIdentifier]:
    return [attribute.oid for attribute in name]


def assert_same_profile(ours: x509.Certificate, real: x509.Certificate) -> None:
    assert profile(ours) == profile(real)
    assert types(ours.subject) == types(real.subject)
    assert types(ours.issuer) == types(real.issuer)
    assert ours.signature_algorithm_oid == real.signature_algorithm_oid
    for kind in (x509.KeyUsage, x509.BasicConstraints):
        found = ours.extensions.get_extension_for_class(kind).value
        assert found == real.extensions.get_extension_for_class(kind).value


@needs_real_data
def test_authorities_and_signer_have_the_profile_of_the_real_ones() -> None:
    (real_root,) = x509.load_pem_x509_certificates(REAL_ROOT.read_bytes())
    (real_intermediate,) = x509.load_pem_x509_certificates(REAL_INTERMEDIATE.read_bytes())
    real_signer = x509.load_der_x509_certificate(embedded_certificate(real_octets()))
    assert_same_profile(hierarchy().root.certificate, real_root)
    assert_same_profile(hierarchy().intermediate.certificate, real_intermediate)
    signer = list_signer().certificate
    assert_same_profile(signer, real_signer)
    assert signer.subject == real_signer.subject
    for oid in (ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME):
        ours = signer.extensions.get_extension_for_oid(oid).value
        assert ours == real_signer.extensions.get_extension_for_oid(oid).value


def test_a_server_reads_as_the_list_writes_names() -> None:
    subject = Subject("relay.chu.fr", "1380780080", "CHU DE GRENOBLE", "Isère (38)")
    issued = hierarchy().issue_server(
        subject, ["relay.chu.fr", "mx2.chu.fr"], Lifetime.of_leaf(NOW), key=spare_key()
    )
    certificate = issued.certificate
    assert [a.value for a in certificate.subject] == [
        "FR",
        "Isère (38)",
        "CHU DE GRENOBLE",
        "1380780080",
        "relay.chu.fr",
    ]
    assert str(DistinguishedName.from_certificate(certificate)) == (
        "CN=relay.chu.fr,OU=1380780080,O=CHU DE GRENOBLE,ST=Isère (38),C=FR"
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["relay.chu.fr", "mx2.chu.fr"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert issued.key is spare_key()
    assert trust().verify(certificate, NOW).trusted


def test_odd_certificates_can_be_made() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    past = Lifetime(NOW - timedelta(days=20), NOW - timedelta(days=10))
    odd = hierarchy().issue_server(subject, [], past, key=spare_key()).certificate
    assert odd.subject == subject
    assert odd.not_valid_after_utc == NOW - timedelta(days=10)
    with pytest.raises(x509.ExtensionNotFound):
        odd.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_lifetimes_start_a_day_ago() -> None:
    root, leaf = hierarchy().root.certificate, list_signer().certificate
    assert root.not_valid_before_utc == leaf.not_valid_before_utc == NOW - timedelta(days=1)
    assert leaf.not_valid_after_utc == NOW + timedelta(days=3 * 365)
    assert root.not_valid_after_utc > NOW + timedelta(days=19 * 365)


def test_each_certificate_has_its_own_key_and_serial() -> None:
    certificates = [
        hierarchy().root.certificate,
        hierarchy().intermediate.certificate,
        list_signer().certificate,
        server("a.fr").certificate,
    ]
    assert len({certificate.serial_number for certificate in certificates}) == 4
    identifiers = [
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        for certificate in certificates
    ]
    assert len(set(identifiers)) == 4


def test_a_list_names_the_serial_numbers_that_an_authority_revoked() -> None:
    root, lifetime = hierarchy().root, Lifetime(NOW, NOW + timedelta(days=7))
    crl = issue_crl(root, lifetime, 12, [5, 1 << 100])
    assert [entry.serial_number for entry in crl] == [5, 1 << 100]
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + timedelta(days=7))
    assert crl.issuer == root.certificate.subject
    assert crl.is_signature_valid(root.certificate.public_key())  # type: ignore[arg-type] # RSA
    extensions = crl.extensions
    assert extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 12
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert authority.key_identifier == subject.value.digest
    assert len(issue_crl(root, lifetime, 13)) == 0


def test_certificates_say_where_revocation_is_published_if_told() -> None:
    of_root = RevocationAddresses(("http://127.0.0.1/root.crl",))
    both = RevocationAddresses(
        ("http://127.0.0.1/a.crl", "http://127.0.0.1/b.crl"), ("http://127.0.0.1/ocsp",)
    )
    authorities = Hierarchy.create(NOW, of_root)
    lifetime = Lifetime.of_leaf(NOW)
    told = [
        authorities.issue_server(x509.Name([]), [], lifetime, key=spare_key(), revocation=both),
        authorities.issue_list_signer(lifetime, key=spare_key(), revocation=both),
    ]
    for credential in told:
        assert distribution_points(credential.certificate) == both.crls
        access = credential.certificate.extensions.get_extension_for_class(
            x509.AuthorityInformationAccess
        )
        assert tuple(one.access_location.value for one in access.value) == both.ocsp
    assert distribution_points(authorities.intermediate.certificate) == of_root.crls
    for certificate in (authorities.root.certificate, server("a.fr").certificate):
        oids = {extension.oid for extension in certificate.extensions}
        assert not oids & LEFT_OUT


def test_a_folder_gives_back_the_hierarchy(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "igc"
    hierarchy().save(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == [
        "intermediate.key",
        "intermediate.pem",
        "root.key",
        "root.pem",
    ]
    for path in folder.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = Hierarchy.load(folder)
    store = TrustStore.from_files([folder / "root.pem"], [folder / "intermediate.pem"])
    again = loaded.issue_server(
        Subject("b.fr", "1", "B", "Nord (59)"), ["b.fr"], Lifetime.of_leaf(NOW), key=spare_key()
    )
    assert store.verify(again.certificate, NOW).trusted
    (folder / "intermediate.key").unlink()
    with pytest.raises(TrustFileError, match=r"intermediate\.key: cannot be read"):
        Hierarchy.load(folder)


def context(purpose: ssl._SSLMethod, credential: Credential, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(purpose)
    made.load_verify_locations(cadata=trust().pem)
    made.check_hostname = purpose is ssl.PROTOCOL_TLS_CLIENT
    made.verify_mode = ssl.CERT_REQUIRED
    credential.save(folder / "x.pem", folder / "x.key")
    made.load_cert_chain(folder / "x.pem", folder / "x.key")
    return made


def test_two_servers_make_a_mutual_tls_connection(tmp_path: Path) -> None:
    """With real TLS in memory: names, usages and chains satisfy both ends."""
    write_trust(tmp_path)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(ssl.PROTOCOL_TLS_CLIENT, server("a.fr"), tmp_path).wrap_bio(
        to_client, to_server, server_hostname="b.fr"
    )
    peer = context(ssl.PROTOCOL_TLS_SERVER, server("b.fr"), tmp_path).wrap_bio(
        to_server, to_client, server_side=True
    )
    pending = [client, peer]
    for _ in range(10):
        for end in list(pending):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(end)
    assert not pending
    der = peer.getpeercert(binary_form=True)
    assert der is not None
    assert x509.load_der_x509_certificate(der) == server("a.fr").certificate
