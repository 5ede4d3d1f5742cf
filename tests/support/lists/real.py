"""The real national list and the real IGC-Santé authorities, if present.

They lie next to the checkout, never in it; without them, tests skip.
"""

from functools import cache
from pathlib import Path

import pytest
from cryptography import x509

from whitelist.pki.crl import RevocationList
from whitelist.pki.trust_store import TrustStore

_DATA = Path(__file__).parents[4] / "shared" / "data"
REAL_LIST = _DATA / "whitelist" / "listeblanchemssante-2025-02-28.xml"
REAL_ROOT = _DATA / "igc-sante" / "ACR-EL.pem"
REAL_INTERMEDIATE = _DATA / "igc-sante" / "ACI-EL-ORG.pem"

needs_real_data = pytest.mark.skipif(
    not REAL_LIST.is_file(), reason=f"the real white list is not at {REAL_LIST}"
)


_TEST_FOLDER = _DATA / "igc-sante"
_TEST_CHAIN = _TEST_FOLDER / "test-EL-ORG-chain.pem"
_TEST_CRLS = (
    _TEST_FOLDER / "test-ACR-EL-TEST-2019-06.crl.pem",
    _TEST_FOLDER / "test-ACI-EL-ORG-TEST-2019-06-27.crl.pem",
)

needs_real_crls = pytest.mark.skipif(
    not _TEST_CRLS[1].is_file(), reason=f"the real lists of 2019 are not at {_TEST_FOLDER}"
)


@cache
def real_test_trust() -> TrustStore:
    """The TEST hierarchy of IGC-Santé."""
    chain = x509.load_pem_x509_certificates(_TEST_CHAIN.read_bytes())
    roots = tuple(one for one in chain if one.subject == one.issuer)
    return TrustStore(roots, tuple(one for one in chain if one not in roots))


def real_test_crls() -> tuple[RevocationList, RevocationList]:
    """The lists of its root and its intermediate, of June 2019."""
    root, intermediate = (RevocationList.read(path.read_bytes()) for path in _TEST_CRLS)
    return root, intermediate


def real_test_leaf(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((_TEST_FOLDER / name).read_bytes())


@cache
def real_octets() -> bytes:
    return REAL_LIST.read_bytes()


@cache
def real_trust() -> TrustStore:
    return TrustStore.from_files([REAL_ROOT], [REAL_INTERMEDIATE])
