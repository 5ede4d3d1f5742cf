"""Credentials of accounts as rows: listing, revoking, use. No secret leaves this module.

Functions take a connection in a transaction; functions that write need `Database.write()`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    exists,
    or_,
    select,
    update,
)

from mailstore.accounts.accounts import Account
from mailstore.accounts.changes import note_ending
from mailstore.accounts.closing import end_credentials
from mailstore.accounts.endings import CredentialEnded
from mailstore.accounts.names import parse_name
from mailstore.credentials.proof import Proof
from mailstore.db.dialect import insert_or_ignore
from mailstore.db.people_schema import accounts, credentials, team_moves
from mailstore.db.schema import mailboxes
from mailstore.errors import InvalidCredential, NotFound

NOTED_EVERY: Final = timedelta(hours=1)  # between two notes of a use, which cost a write


class CredentialKind(StrEnum):
    """Kind of a credential of an account."""

    PASSWORD = "password"  # noqa: S105 - a name
    TOTP = "totp"
    RECOVERY = "recovery"
    APP_PASSWORD = "app_password"  # noqa: S105
    CERTIFICATE = "certificate"
    OIDC = "oidc"


_READABLE: Final = {CredentialKind.CERTIFICATE, CredentialKind.OIDC}


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential without its secret. `mailbox`: address of the only one that it opens.

    `identity`: distinguished name of a certificate; issuer and subject of an OIDC identity.
    """

    id: int
    account_id: int
    kind: CredentialKind
    name: str
    created_at: datetime
    last_used_at: datetime | None
    ends_at: datetime | None
    revoked_at: datetime | None
    mailbox: str | None
    protocols: tuple[str, ...]
    identity: str | None

    def live(self, at: datetime) -> bool:
        """True if it is neither revoked nor past its end."""
        return self.revoked_at is None and (self.ends_at is None or at < self.ends_at)


def list_credentials(conn: Connection, account_id: int) -> list[Credential]:
    """All credentials of an account, revoked ones too, oldest first."""
    mine = _credentials().where(credentials.c.account_id == account_id)
    return [_credential(row) for row in conn.execute(mine.order_by(credentials.c.id))]


def get_credential(conn: Connection, account_id: int, credential_id: int) -> Credential:
    """Find a credential of an account by its number. Raises NotFound."""
    mine = and_(credentials.c.account_id == account_id, credentials.c.id == credential_id)
    row = conn.execute(_credentials().where(mine)).one_or_none()
    if row is None:
        raise NotFound(f"this account has no credential of number {credential_id}")
    return _credential(row)


def revoke_credential(
    conn: Connection, account: Account, credential_id: int, *, now: datetime
) -> tuple[Credential, list[CredentialEnded]]:
    """Revoke a credential of an account. Raises NotFound, also for a revoked one."""
    found = get_credential(conn, account.id, credential_id)
    endings = revoke_where(conn, credentials.c.id == found.id, now)
    if not endings:
        raise NotFound(f"the credential {found.id} of {account.login} is revoked already")
    return found, endings


def revoke_kind(
    conn: Connection, account: Account, kind: CredentialKind, *, now: datetime
) -> list[CredentialEnded]:
    """Revoke all credentials of a kind that an account has; no error if there is none."""
    mine = and_(credentials.c.account_id == account.id, credentials.c.kind == kind.value)
    return revoke_where(conn, mine, now)


def revoke_where(
    conn: Connection, which: ColumnElement[bool], now: datetime
) -> list[CredentialEnded]:
    """Revoke the credentials of a condition, and tell the doors."""
    endings = end_credentials(conn, which, now)
    if endings:
        note_ending(conn)
    return endings


def insert_credential(
    conn: Connection,
    account: Account,
    kind: CredentialKind,
    name: str,
    verifier: bytes,
    *,
    now: datetime,
    **columns: Any,
) -> int | None:
    """Add a row; None if its `lookup` is another live credential's. Raises InvalidName.

    The caller holds the lock of the account (`lock_account`), so that no credential is added to an
    account that is being closed.
    """
    values = {
        "account_id": account.id,
        "kind": kind.value,
        "name": parse_name(name, "name of the credential"),
        "verifier": verifier,
        "created_at": now,
        **columns,
    }
    added = insert_or_ignore(conn, credentials).values(values).returning(credentials.c.id)
    found: int | None = conn.scalar(added)
    return found


def check_end(ends_at: datetime | None, now: datetime) -> None:
    """Refuse an end that is past. Raises InvalidCredential."""
    if ends_at is not None and ends_at <= now:
        raise InvalidCredential(f"its end, {ends_at:%Y-%m-%d}, is past")


def live(at: datetime) -> ColumnElement[bool]:
    """Condition of credentials that are neither revoked nor past their end."""
    return and_(
        credentials.c.revoked_at.is_(None),
        or_(credentials.c.ends_at.is_(None), credentials.c.ends_at > at),
    )


def use_is_due(conn: Connection, proof: Proof, mailbox_id: int | None) -> bool:
    """True if the use should be noted: none was within the last hour. Reads only."""
    return any(
        conn.scalar(select(table.c.id).where(due)) for table, due, _ in _uses(proof, mailbox_id)
    )


def note_use(conn: Connection, proof: Proof, mailbox_id: int | None) -> None:
    """Note the use of the credential, the log-in of the account and that to the mailbox.

    At most once an hour for each (DOMAIN §U1.2 asks for the last log-in to a mailbox), and at the
    first log-in after a team began to move: its report names the members who have not come yet.
    """
    for table, due, column in _uses(proof, mailbox_id):
        conn.execute(update(table).where(due).values({column: proof.at}))


def _uses(proof: Proof, mailbox_id: int | None) -> list[tuple[Any, ColumnElement[bool], Any]]:
    before, ahead = proof.at - NOTED_EVERY, proof.at + NOTED_EVERY
    noted = [
        (credentials, proof.credential_id, credentials.c.last_used_at),
        (accounts, proof.account, accounts.c.last_login_at),
        (mailboxes, mailbox_id, mailboxes.c.last_login_at),
    ]
    moved = exists().where(
        team_moves.c.begun_at > accounts.c.last_login_at, team_moves.c.begun_at <= proof.at
    )
    return [
        # A note from the future is of a clock that was ahead: it must not stand until then.
        (
            table,
            and_(
                table.c.id == row,
                or_(
                    column.is_(None),
                    column < before,
                    column > ahead,
                    *([moved] if table is accounts else []),
                ),
            ),
            column,
        )
        for table, row, column in noted
        if row is not None
    ]


def _credentials() -> Select[Any]:
    columns = [one for one in credentials.c if one.name not in ("lookup", "last_step")]
    return select(*columns, mailboxes.c.address).join_from(credentials, mailboxes, isouter=True)


def _credential(row: Row[Any]) -> Credential:
    kind = CredentialKind(row.kind)
    return Credential(
        id=row.id,
        account_id=row.account_id,
        kind=kind,
        name=row.name,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        ends_at=row.ends_at,
        revoked_at=row.revoked_at,
        mailbox=row.address,
        protocols=tuple(row.protocols.split(",")) if row.protocols else (),
        identity=bytes(row.verifier).decode() if kind in _READABLE else None,
    )
