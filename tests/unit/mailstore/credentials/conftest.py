"""Keys of a store, and password hashes of the cheapest parameters."""

from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST

from mailstore.audit.trail import AuditTrail
from mailstore.credentials.passwords import PasswordHashes
from mailstore.sealed.keyring import Keyring, make_first
from tests.support.audit.trails import audit_keys
from tests.support.clock import NOW


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    make_first(tmp_path / "keys", NOW)
    return Keyring(tmp_path / "keys")


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(audit_keys(tmp_path))


@pytest.fixture(scope="session")
def hashes() -> PasswordHashes:
    return PasswordHashes(parameters=CHEAPEST)
