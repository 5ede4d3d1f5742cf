"""One-time codes of an authenticator app (TOTP, RFC 6238): 6 digits, 30 seconds, HMAC-SHA-1.

The secret is sealed with the store's keys and bound to its account. A code is taken in its own step
and in one on either side, and for each step once (RFC 6238 §5.2).
"""

import re
from datetime import datetime
from hmac import compare_digest
from typing import Final

import pyotp
from sqlalchemy import Connection, or_, update

from mailstore.accounts.accounts import Account
from mailstore.accounts.endings import CredentialEnded
from mailstore.credentials.credentials import CredentialKind, insert_credential, revoke_kind
from mailstore.db.people_schema import credentials
from mailstore.errors import InvalidCredential
from mailstore.sealed.keyring import Keyring
from mailstore.sealed.small_values import open_value, seal_value

STEP: Final = 30  # seconds
WINDOW: Final = 1  # steps before and after the present one
_CODE: Final = re.compile(r"[0-9]{6}")


def new_secret() -> str:
    """A random secret of 160 bits (RFC 4226 §4), in base32 as apps take it."""
    return pyotp.random_base32(32)


def provisioning_uri(secret: str, login: str, issuer: str) -> str:
    """The `otpauth:` URI that authenticator apps read as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)


def parse_code(text: str) -> str | None:
    """The six digits of a typed code, None for another text."""
    code = "".join(text.split())
    return code if _CODE.fullmatch(code) else None


def accepted_step(secret: str, code: str, at: datetime, last_step: int | None) -> int | None:
    """The step for which a code is taken, None if it is wrong or of a step used already. Pure."""
    digits, present = parse_code(code) or "", int(at.timestamp()) // STEP
    steps = range(present - WINDOW, present + WINDOW + 1)
    otp = pyotp.TOTP(secret, interval=STEP)
    # All are compared, so that the time taken says nothing.
    equal = [step for step in steps if compare_digest(otp.generate_otp(step), digits)]
    return next((step for step in equal if last_step is None or step > last_step), None)


def set_totp(
    conn: Connection, account: Account, secret: str, code: str, keys: Keyring, *, now: datetime
) -> list[CredentialEnded]:
    """Store a secret in place of the account's present one, once the app has shown a right code.

    Raises InvalidCredential for a wrong code: another clock, or another secret in the app.
    """
    step = accepted_step(secret, code, now, None)
    if step is None:
        raise InvalidCredential(
            "the code is not the one of this secret at this time; compare the clocks"
        )
    ended = revoke_kind(conn, account, CredentialKind.TOTP, now=now)
    sealed = seal_value(secret.encode("ascii"), bound_to(account.id), keys)
    insert_credential(
        conn, account, CredentialKind.TOTP, "authenticator app", sealed, now=now, last_step=step
    )
    return ended


def open_secret(sealed: bytes, account_id: int, keys: Keyring) -> str:
    """The secret of an account's row. Raises KeyMissing, SealBroken."""
    return open_value(sealed, bound_to(account_id), keys).decode("ascii")


def take_step(conn: Connection, credential_id: int, step: int) -> bool:
    """Mark a step as used; False if another log-in was faster, or the credential has ended."""
    taken = conn.execute(
        update(credentials)
        .where(
            credentials.c.id == credential_id,
            credentials.c.revoked_at.is_(None),
            or_(credentials.c.last_step.is_(None), credentials.c.last_step < step),
        )
        .values(last_step=step)
    )
    return taken.rowcount == 1


def bound_to(account_id: int) -> bytes:
    """Associated data of the sealed secret of an account: it opens nothing elsewhere."""
    return f"totp {account_id}".encode("ascii")
