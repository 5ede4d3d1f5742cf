"""Recovery codes: ten codes of 80 random bits on paper, each good once in place of a TOTP code."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from mailstore.accounts.accounts import Account
from mailstore.accounts.endings import CredentialEnded
from mailstore.credentials.credentials import (
    CredentialKind,
    insert_credential,
    live,
    revoke_kind,
)
from mailstore.credentials.random_secrets import (
    grouped,
    random_text,
    seal_verifier,
    ungrouped,
    verifies,
)
from mailstore.db.people_schema import credentials
from mailstore.sealed.keyring import Keyring

CODES: Final = 10
_OCTETS: Final = 10
LENGTH: Final = 16  # characters, without hyphens


def set_recovery_codes(
    conn: Connection, account: Account, keys: Keyring, *, now: datetime
) -> tuple[list[str], list[CredentialEnded]]:
    """Make new codes in place of those left. Returns them, to be shown once, and the endings."""
    ended = revoke_kind(conn, account, CredentialKind.RECOVERY, now=now)
    codes = [random_text(_OCTETS) for _ in range(CODES)]
    for number, code in enumerate(codes, 1):
        verifier = seal_verifier(code, bound_to(account.id), keys)
        name = f"recovery code {number}"
        insert_credential(conn, account, CredentialKind.RECOVERY, name, verifier, now=now)
    return [grouped(code) for code in codes], ended


def use_recovery_code(
    conn: Connection, account_id: int, text: str, keys: Keyring, *, now: datetime
) -> int | None:
    """Use up a code of an account; returns its number, None if it is none or used already.

    Needs a write transaction. Raises KeyMissing, SealBroken.
    """
    code = ungrouped(text)
    rows = conn.execute(
        select(credentials.c.id, credentials.c.verifier).where(
            credentials.c.account_id == account_id,
            credentials.c.kind == CredentialKind.RECOVERY.value,
            live(now),
        )
    ).all()
    bound = bound_to(account_id)
    # All are compared, so that the time taken says nothing.
    right = [row.id for row in rows if verifies(code, bytes(row.verifier), bound, keys)]
    if not right:
        return None
    used = conn.execute(
        update(credentials)
        .where(credentials.c.id == right[0], credentials.c.revoked_at.is_(None))
        .values(revoked_at=now, last_used_at=now)
    )
    return int(right[0]) if used.rowcount else None


def bound_to(account_id: int) -> bytes:
    """Associated data of the verifiers of an account's codes: they open nothing elsewhere."""
    return f"recovery {account_id}".encode("ascii")
