"""Log-ins for tests: a person with a password and a code; hashes that count or take time."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pyotp
from argon2.profiles import CHEAPEST

from mailstore.credentials.app_passwords import AppPasswordPolicy
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes
from mailstore.credentials.proof import Proof
from mailstore.credentials.totp import STEP
from mailstore.mailboxes.identifiers import MailboxType
from tests.support.clock import NOW

PASSWORD = "quatre mots assez longs"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
PER = AppPasswordPolicy(frozenset({MailboxType.PER}))
SOON = timedelta(seconds=STEP)


def code(at: datetime) -> str:
    return pyotp.TOTP(SECRET).generate_otp(int(at.timestamp()) // STEP)


class Meanwhile(PasswordHashes):
    """Does something while a password is compared: a comparison takes its time, and its turn."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(parameters=CHEAPEST)
        self.act = act

    def matches(self, password: str, verifier: str | None) -> bool:
        self.act()
        return super().matches(password, verifier)


class Counting(PasswordHashes):
    """Counts the comparisons, each of which costs one hash."""

    def __init__(self) -> None:
        super().__init__(parameters=CHEAPEST)
        self.compared = 0

    def matches(self, password: str, verifier: str | None) -> bool:
        self.compared += 1
        return super().matches(password, verifier)


def log_in(
    door: LogIn, password: str = PASSWORD, given: str | None = None, **more: object
) -> Proof:
    facts = {"origin": "192.0.2.1", "at": NOW, "login": "Claire", **more}
    return door.with_password(password=password, code=given, **facts)  # type: ignore[arg-type]
