"""The real national list and the real IGC-Santé authorities, where they are at hand.

They lie beside the checkout, never in it; tests that need them skip elsewhere.
"""

from functools import cache
from pathlib import Path

import pytest

from whitelist.trust import TrustStore

_DATA = Path(__file__).parents[3] / "shared" / "data"
REAL_LIST = _DATA / "whitelist" / "listeblanchemssante-2025-02-28.xml"
REAL_ROOT = _DATA / "igc-sante" / "ACR-EL.pem"
REAL_INTERMEDIATE = _DATA / "igc-sante" / "ACI-EL-ORG.pem"

needs_real_data = pytest.mark.skipif(
    not REAL_LIST.is_file(), reason=f"the real white list is not at {REAL_LIST}"
)


@cache
def real_octets() -> bytes:
    return REAL_LIST.read_bytes()


@cache
def real_trust() -> TrustStore:
    return TrustStore.from_files([REAL_ROOT], [REAL_INTERMEDIATE])
