"""Certificates and keys in files."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mssante_operator.setup.testbed.certificate_profile import Lifetime
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import NOW, hierarchy, list_signer, server
from whitelist.errors import TrustFileError


def saved(folder: Path, credential: Credential) -> tuple[Path, Path]:
    certificate, key = folder / "x.pem", folder / "x.key"
    credential.save(certificate, key)
    return certificate, key


def test_files_give_back_the_same_credential(tmp_path: Path) -> None:
    certificate, key = saved(tmp_path, list_signer())
    loaded = Credential.load(certificate, key)
    assert loaded.certificate == list_signer().certificate
    assert loaded.key_pem == list_signer().key_pem


def test_the_key_is_for_its_owner_only_even_over_an_open_file(tmp_path: Path) -> None:
    (tmp_path / "x.key").write_text("old")
    (tmp_path / "x.key").chmod(0o644)
    _, key = saved(tmp_path, server("a.fr"))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() == server("a.fr").key_pem


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    certificate, key = saved(tmp_path, list_signer())
    with pytest.raises(TrustFileError, match=r"y\.pem: cannot be read"):
        Credential.load(tmp_path / "y.pem", key)
    with pytest.raises(TrustFileError, match=r"x\.key: holds no PEM certificate"):
        Credential.load(key, key)
    with pytest.raises(TrustFileError, match=r"x\.pem: holds no unencrypted PEM private key"):
        Credential.load(certificate, certificate)
    key.write_bytes(
        list_signer().key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TrustFileError, match="no unencrypted PEM private key"):
        Credential.load(certificate, key)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, key = saved(tmp_path, list_signer())
    key.write_bytes(server("a.fr").key_pem)
    with pytest.raises(TrustFileError, match="holds not the RSA key of"):
        Credential.load(certificate, key)
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(TrustFileError, match="holds not the RSA key of"):
        Credential.load(certificate, key)


def test_a_key_can_serve_a_renewed_certificate(tmp_path: Path) -> None:
    renewed = hierarchy().issue_list_signer(
        Lifetime.of_leaf(NOW + timedelta(days=300)), key=list_signer().key
    )
    certificate, _ = saved(tmp_path, renewed)
    list_signer().save(tmp_path / "old.pem", tmp_path / "x.key")
    assert Credential.load(certificate, tmp_path / "x.key").certificate == renewed.certificate
