"""Accounts that log in to commands with two factors, and the words of --as."""

from functools import cache, partial

import pyotp
import pytest
from argon2.profiles import CHEAPEST
from sqlalchemy import update

from mailstore.accounts.accounts import get_account
from mailstore.credentials.passwords import PasswordHashes, set_password
from mailstore.credentials.totp import set_totp
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials
from mssante_operator.assembly.people import log_in
from mssante_operator.settings.model import load
from tests.support.clock import NOW
from tests.support.machines.daemon import Daemon

PASSWORD = "quatre chevaux bleus 7"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
CHEAP_HASHES = partial(PasswordHashes, parameters=CHEAPEST)


def hash_cheaply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with argon2's cheapest parameters: some tests log in a hundred times."""
    monkeypatch.setattr(log_in, "PasswordHashes", CHEAP_HASHES)


def seat(daemon: Daemon, *logins: str, totp: bool = True) -> None:
    """Give accounts that exist the password, and the secret of an authenticator app."""
    (daemon.folder / "password").write_text(f"{PASSWORD}\n")
    keys = log_in.credential_keys(load(daemon.config))
    with daemon.store() as store, store.database.write() as conn:
        for login in logins:
            account = get_account(conn, login)
            set_password(conn, account, _verifier(), now=NOW)
            if totp:
                set_totp(conn, account, SECRET, pyotp.TOTP(SECRET).at(NOW), keys, now=NOW)


def alone(daemon: Daemon, login: str) -> tuple[str, ...]:
    """Words of --as with the password alone."""
    return ("--as", login, "--password-file", str(daemon.folder / "password"))


def both(daemon: Daemon, database: Database, login: str) -> tuple[str, ...]:
    """Words of --as with password and code.  A code is good once: its step is taken back before."""
    with database.write() as conn:
        conn.execute(update(credentials).values(last_step=None))
    return (*alone(daemon, login), "--code", pyotp.TOTP(SECRET).now())


@cache
def _verifier() -> str:
    return CHEAP_HASHES().hash(PASSWORD)
