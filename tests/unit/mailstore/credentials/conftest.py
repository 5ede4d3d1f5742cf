"""Keys of a store, password hashes of the cheapest parameters, and the log-in of `claire`."""

from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST

from mailstore.accounts.accounts import get_account
from mailstore.audit.trail import AuditTrail
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes, set_password
from mailstore.credentials.totp import set_totp
from mailstore.db.database import Database
from mailstore.sealed.keyring import Keyring, make_first
from tests.support.audit.trails import audit_keys
from tests.support.clock import NOW
from tests.support.people.accounts import person
from tests.support.people.log_ins import PASSWORD, PER, SECRET, Counting, code


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


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def door(database: Database, keys: Keyring, counting: Counting, trail: AuditTrail) -> LogIn:
    with database.write() as conn:
        claire = person(conn, "claire")
        set_password(conn, claire, counting.hash(PASSWORD), now=NOW)
        person(conn, "paul")
    return LogIn(database, keys, counting, PER, trail)


@pytest.fixture
def with_totp(database: Database, keys: Keyring, door: LogIn) -> LogIn:
    with database.write() as conn:
        set_totp(conn, get_account(conn, "claire"), SECRET, code(NOW), keys, now=NOW)
    return door
