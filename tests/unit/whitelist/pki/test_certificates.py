"""Reading certificates: one kind of error for any octets."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.lists.hierarchy import NOW, SIGNER, listed, server, signed_list, trust
from whitelist.errors import ListReason, ListRefused
from whitelist.national.reader import read_list
from whitelist.pki.certificates import MAX_DER, read_der, read_pem

VERSION_3 = bytes.fromhex("a003020102")  # [0] INTEGER 2, RFC 5280 §4.1


def of_unknown_version() -> bytes:
    der = server("smtp.b.mssante.fr").certificate.public_bytes(Encoding.DER)
    assert der.count(VERSION_3) == 1
    return der.replace(VERSION_3, bytes.fromhex("a00302016a"))


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"\xff" * 100])
def test_garbage(octets: bytes) -> None:
    for read in (read_der, read_pem):
        with pytest.raises(ValueError, match=r".+"):
            read(octets)


def test_an_unknown_version_is_a_value_error() -> None:
    # Found by fuzzing: the library's InvalidVersion is no ValueError.
    with pytest.raises(ValueError, match="not a valid X509 version"):
        read_der(of_unknown_version())


def test_a_list_with_such_a_signer_is_refused() -> None:
    # Found by fuzzing, DOMAIN §9.4.
    good = signed_list([listed("b.mssante.fr", "CN=a,C=FR")])
    start = good.index(b"<X509Certificate>") + len(b"<X509Certificate>")
    end = good.index(b"</X509Certificate>")
    forged = good[:start] + base64.b64encode(of_unknown_version()) + good[end:]
    with pytest.raises(ListRefused) as refused:
        read_list(forged, trust(), SIGNER, NOW)
    assert refused.value.reason is ListReason.SIGNER_UNREADABLE


SHOW_AN_ODD_NAME = """
import sys
from tests.support.lists.hierarchy import NOW, hierarchy, spare_key
from mssante_operator.setup.testbed.certificate_profile import Lifetime
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
long = x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 100, _validate=False)
made = hierarchy().issue_server(x509.Name([long]), [], Lifetime.of_leaf(NOW), key=spare_key())
from whitelist.pki.verdict_cache import VerdictCache
from tests.support.lists.hierarchy import trust
der = made.certificate.public_bytes(Encoding.DER)
print(VerdictCache(trust()).verdict(der, NOW)[1].status)
"""


@pytest.mark.integration
def test_odd_certificates_of_strangers_write_nothing_on_standard_error() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SHOW_AN_ODD_NAME],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (said.stdout, said.stderr) == ("trusted\n", "")


def test_an_enormous_certificate_is_not_read() -> None:
    with pytest.raises(ValueError, match="larger than"):
        read_der(b"0" * (MAX_DER + 1))
