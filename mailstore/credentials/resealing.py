"""Sealing the secrets of credentials anew with the newest key, so that older keys can go."""

from typing import Final

from sqlalchemy import select, update

from mailstore.credentials import app_passwords, recovery_codes, totp
from mailstore.credentials.credentials import CredentialKind
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials
from mailstore.errors import KeyMissing, SealBroken
from mailstore.sealed.keyring import Keyring
from mailstore.sealed.small_values import open_value, seal_value, sealing_key

_AT_ONCE: Final = 200
_BOUND: Final = {
    CredentialKind.TOTP: lambda row: totp.bound_to(row.account_id),
    CredentialKind.RECOVERY: lambda row: recovery_codes.bound_to(row.account_id),
    CredentialKind.APP_PASSWORD: app_passwords.bound_to,
}


def reseal_credentials(database: Database, keys: Keyring) -> int:
    """Seal anew what an older key sealed; returns the number of credentials.

    Revoked credentials, altered rows and those whose key is missing stay as they are. Raises
    StoreUnavailable.
    """
    keys.refresh()
    done, after = 0, 0
    while True:
        page = (
            select(credentials)
            .where(
                credentials.c.id > after,
                credentials.c.kind.in_([kind.value for kind in _BOUND]),
                credentials.c.revoked_at.is_(None),
            )
            .order_by(credentials.c.id)
            .limit(_AT_ONCE)
        )
        with database.write() as conn:
            rows = conn.execute(page).all()
            for row in rows:
                before = bytes(row.verifier)
                if sealing_key(before) == keys.newest.id:
                    continue
                bound = _BOUND[CredentialKind(row.kind)](row)
                try:
                    sealed = seal_value(open_value(before, bound, keys), bound, keys)
                except (KeyMissing, SealBroken):
                    continue
                same = credentials.c.verifier == before
                changed = conn.execute(
                    update(credentials)
                    .where(credentials.c.id == row.id, same)
                    .values(verifier=sealed)
                )
                done += changed.rowcount
        if not rows:
            return done
        after = rows[-1].id
