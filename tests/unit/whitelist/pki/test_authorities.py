"""Files of authorities: each error names the file and the fix."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import authority_name
from tests.support.lists.hierarchy import NOW, hierarchy, server, spare_key, write_trust
from tests.support.lists.real import REAL_INTERMEDIATE, REAL_ROOT, needs_real_data
from whitelist.errors import TrustFileError
from whitelist.pki.authorities import read_authorities

ROOT = hierarchy().root.certificate
INTERMEDIATE = hierarchy().intermediate.certificate


def written(path: Path, *contents: bytes) -> Path:
    path.write_bytes(b"".join(contents))
    return path


def test_reads_anchors_and_intermediates(tmp_path: Path) -> None:
    anchor, intermediate = write_trust(tmp_path)
    assert read_authorities([anchor], [intermediate]) == ((ROOT,), (INTERMEDIATE,))
    assert read_authorities([anchor], []) == ((ROOT,), ())


def test_a_file_may_hold_several_certificates_and_text(tmp_path: Path) -> None:
    theirs = Hierarchy.create(NOW)
    pem = hierarchy().root.certificate_pem
    anchors = written(tmp_path / "a.pem", b"IGC-Sante\n", pem, theirs.root.certificate_pem)
    both = theirs.intermediate.certificate_pem + hierarchy().intermediate.certificate_pem
    bundle = written(tmp_path / "b.pem", both)
    roots, intermediates = read_authorities([anchors], [bundle])
    assert roots == (ROOT, theirs.root.certificate)
    assert intermediates == (theirs.intermediate.certificate, INTERMEDIATE)


def test_intermediates_may_chain_through_each_other_in_any_order(tmp_path: Path) -> None:
    anchor, intermediate = write_trust(tmp_path)
    above, key = hierarchy().intermediate, spare_key().public_key()
    below = (
        x509.CertificateBuilder()
        .subject_name(authority_name("BELOW"))
        .issuer_name(above.certificate.subject)
        .public_key(key)
        .serial_number(2)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(above.key, hashes.SHA256())
    )
    path = written(tmp_path / "below.pem", below.public_bytes(Encoding.PEM))
    assert read_authorities([anchor], [path, intermediate])[1] == (below, INTERMEDIATE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"no readable PEM certificate; convert a DER file with: openssl"),
        (b"hello", "no readable PEM"),
        (ROOT.public_bytes(Encoding.DER), "no readable PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no readable PEM"),
        (hierarchy().root.key_pem, "no readable PEM"),
        (server("a.fr").certificate_pem, r"CN=a\.fr,.* is not a certificate authority"),
        (hierarchy().intermediate.certificate_pem, "not a self-signed root; list it as an interm"),
    ],
)
def test_wrong_anchors(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path / "wrong.pem", content)
    with pytest.raises(TrustFileError, match=message) as caught:
        read_authorities([path], [])
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["missing.pem", "."])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrustFileError, match=r"cannot be read .*; give the path of a PEM file"):
        read_authorities([tmp_path / name], [])


@pytest.mark.parametrize("name", ["root", "intermediate"])
def test_an_intermediate_of_nobody(tmp_path: Path, name: str) -> None:
    anchor, good = write_trust(tmp_path)
    stranger = getattr(Hierarchy.create(NOW), name).certificate_pem
    path = written(tmp_path / "stranger.pem", stranger)
    with pytest.raises(TrustFileError, match="was not issued by any configured anchor; add the"):
        read_authorities([anchor], [good, path])


def test_a_server_is_no_intermediate(tmp_path: Path) -> None:
    anchor, good = write_trust(tmp_path)
    path = written(tmp_path / "server.pem", server("a.fr").certificate_pem)
    with pytest.raises(TrustFileError, match="not a certificate authority"):
        read_authorities([anchor], [good, path])


@needs_real_data
def test_the_real_authorities_are_accepted() -> None:
    anchors, intermediates = read_authorities([REAL_ROOT], [REAL_INTERMEDIATE])
    assert len(anchors) == len(intermediates) == 1
