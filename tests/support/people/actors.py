"""Accounts that act on the command line with --as, and their audit rows."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pytest
from argon2.profiles import CHEAPEST
from pyotp import TOTP
from sqlalchemy import insert, select, update

from mailstore.accounts.accounts import add_account
from mailstore.accounts.kinds import AccountKind
from mailstore.accounts.tenants import add_tenant
from mailstore.credentials.passwords import PasswordHashes, set_password
from mailstore.credentials.totp import set_totp
from mailstore.db.audit_schema import audit_rows
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT, credentials, roles
from mailstore.db.schema import domains
from mssante_operator.assembly.people import log_in
from mssante_operator.settings.model import load
from tests.support.clock import NOW, system_clock
from tests.support.machines.daemon import Daemon

PASSWORD = "quatre chevaux bleus 7"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@lru_cache(1)
def verifier() -> str:
    return PasswordHashes(parameters=CHEAPEST).hash(PASSWORD)


def make_log_in_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands of this process hash passwords with few rounds: a third of a second for each."""
    cheap = partial(PasswordHashes, parameters=CHEAPEST)
    monkeypatch.setattr(log_in, "PasswordHashes", cheap)


@dataclass(frozen=True)
class Actors:
    """Makes accounts of an operator, and runs its commands as one of them."""

    daemon: Daemon
    database: Database

    def tenant(self, name: str, *names: str) -> int:
        """Add a tenant that owns these hosted domains; returns its number."""
        with self.database.write() as conn:
            number = add_tenant(conn, name, now=NOW).id
            owned = update(domains).where(domains.c.name.in_(names))
            conn.execute(owned.values(tenant_id=number))
        return number

    def add(
        self,
        login: str,
        role: str | None = None,
        *,
        home: int = OPERATOR_TENANT,
        tenant: int | None = None,
        domain: str | None = None,
    ) -> None:
        """Add a person of the tenant `home`, with a role for a tenant, a domain or the whole."""
        with self.database.write() as conn:
            account = add_account(conn, home, login, AccountKind.PERSON, family_name=login, now=NOW)
            set_password(conn, account, verifier(), now=NOW)
            keys = log_in.credential_keys(load(self.daemon.config))
            set_totp(conn, account, SECRET, TOTP(SECRET).at(NOW), keys, now=NOW)
            if role is None:
                return
            place = conn.scalar(select(domains.c.id).where(domains.c.name == domain))
            row = {
                "account_id": account.id,
                "role": role,
                "tenant_id": tenant,
                "domain_id": place,
                "begins_at": system_clock(),
                "given_by": "test",
            }
            conn.execute(insert(roles).values(row))

    def run(self, login: str, *words: str, code: int = 0) -> str:
        """Run a command as an account, with two factors; returns its output."""
        password = self.daemon.folder / "password"
        password.write_text(f"{PASSWORD}\n")
        with self.database.write() as conn:  # a code is good once
            conn.execute(update(credentials).values(last_step=None))
        shown = ("--password-file", str(password), "--code", TOTP(SECRET).now())
        return self.daemon.run(*words, "--as", login, *shown, code=code)

    def audit(self, event: str = "") -> list[dict[str, Any]]:
        """Audit rows, the oldest first: all, or those of an event.  Nothing else writes."""
        query = select(audit_rows).order_by(audit_rows.c.chain, audit_rows.c.seq)
        with self.database.read() as conn:
            rows = [dict(row._mapping) for row in conn.execute(query)]
        return [row for row in rows if event in {"", row["event"]}]
