"""App passwords: for programs that know neither codes nor certificates, such as mail clients.

An app password opens one mailbox by some protocols until an end. It counts as one factor. It is off
for each type of mailbox unless switched on, and never for APP, whose programs have certificates.
Only a person who has just proved two factors gets one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select

from mailstore.accounts.accounts import (
    Account,
)
from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.tenants import mailbox_tenant
from mailstore.credentials.app_password_form import AppPassword
from mailstore.credentials.credentials import CredentialKind, insert_credential
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.credentials.random_secrets import seal_verifier, verifies
from mailstore.db.people_schema import accounts, credentials
from mailstore.db.schema import mailboxes, microseconds
from mailstore.errors import Conflict, CredentialForbidden, InvalidCredential, SealBroken
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import lock_for_rights
from mailstore.mailboxes.model import Mailbox
from mailstore.sealed.keyring import Keyring

PROTOCOLS: Final = frozenset({"imap", "submission"})
_FRESH: Final = timedelta(minutes=15)  # since the proof of two factors


@dataclass(frozen=True, slots=True)
class AppPasswordPolicy:
    """Types of mailboxes that app passwords may open, and their longest life in days."""

    types: frozenset[MailboxType] = frozenset()
    days: int = 365

    def allows(self, mailbox_type: MailboxType) -> bool:
        """True if app passwords are switched on for the type; never for APP."""
        return mailbox_type in self.types and mailbox_type is not MailboxType.APP


@dataclass(frozen=True, slots=True, kw_only=True)
class AppPasswordRequest:
    """An app password that is asked for."""

    mailbox: Mailbox
    name: str
    protocols: frozenset[str]
    ends_at: datetime


def check_request(
    policy: AppPasswordPolicy,
    account: Account,
    asked: AppPasswordRequest,
    proof: Proof | None,
    now: datetime,
) -> None:
    """Refuse an app password that may not be given. Pure.

    Raises CredentialForbidden where a rule forbids it, InvalidCredential for a mistake.
    """
    if account.kind is not AccountKind.PERSON:
        raise CredentialForbidden(f"{account.login} is a program: give it a certificate")
    if not policy.allows(asked.mailbox.type):
        raise CredentialForbidden(
            f"app passwords are off for {asked.mailbox.type} mailboxes (credentials.app_passwords)"
        )
    if proof is None or proof.account != account.id or not _strong(proof, now):
        raise CredentialForbidden(
            f"an app password is given to {account.login} only after a log-in with two factors,"
            f" at most {_FRESH // timedelta(minutes=1)} minutes ago"
        )
    if not now < asked.ends_at <= now + timedelta(days=policy.days):
        raise InvalidCredential(
            f"its end, {asked.ends_at:%Y-%m-%d}, is not within {policy.days} days"
            " (credentials.app_password_days)"
        )
    if not asked.protocols or not asked.protocols <= PROTOCOLS:
        raise InvalidCredential(f"give one or more protocols of: {', '.join(sorted(PROTOCOLS))}")


def _strong(proof: Proof, now: datetime) -> bool:
    return proof.factors >= 2 and now - _FRESH < proof.at <= now


def add_app_password(
    conn: Connection,
    account: Account,
    asked: AppPasswordRequest,
    proof: Proof | None,
    policy: AppPasswordPolicy,
    keys: Keyring,
    *,
    now: datetime,
) -> tuple[int, AppPassword]:
    """Give an account an app password; returns its number and itself, to be shown once.

    Raises InvalidCredential, InvalidName; InvalidState for a deleted mailbox.
    """
    check_request(policy, account, asked, proof, now)
    mailbox, protocols = asked.mailbox, ",".join(sorted(asked.protocols))
    if mailbox_tenant(conn, mailbox.id) != account.tenant_id:
        raise CredentialForbidden(f"{mailbox.address} is no mailbox of the tenant {account.tenant}")
    lock_for_rights(conn, mailbox.id)
    made = AppPassword.new()
    bound = _bound_to(account.id, made.lookup, mailbox.id, protocols, asked.ends_at)
    added = insert_credential(
        conn,
        account,
        CredentialKind.APP_PASSWORD,
        asked.name,
        seal_verifier(made.secret, bound, keys),
        now=now,
        lookup=made.lookup,
        mailbox_id=mailbox.id,
        protocols=protocols,
        ends_at=asked.ends_at,
    )
    if added is None:
        raise Conflict("two app passwords began alike, once in a thousand million times: try again")
    return added, made


def check_app_password(
    conn: Connection,
    text: str,
    *,
    mailbox_id: int,
    protocol: str,
    policy: AppPasswordPolicy,
    keys: Keyring,
    at: datetime,
) -> Proof:
    """Check an app password for a mailbox and a protocol. Raises LoginRefused, KeyMissing."""
    given = AppPassword.parse(text)
    if given is None:
        raise LoginRefused(Refusal.UNKNOWN)
    row = conn.execute(_FOUND, {"lookup": given.lookup}).one_or_none()
    if row is None:
        raise LoginRefused(Refusal.UNKNOWN)
    try:
        right = verifies(given.secret, bytes(row.verifier), bound_to(row), keys)
    except SealBroken:
        raise LoginRefused(Refusal.ALTERED, row.account_id) from None
    protocols = frozenset(row.protocols.split(","))
    for wrong, reason in (
        (not right, Refusal.WRONG),
        (row.state != AccountState.ACTIVE, Refusal.ACCOUNT_STATE),
        (at >= row.ends_at, Refusal.ENDED),
        (row.mailbox_id != mailbox_id, Refusal.OTHER_MAILBOX),
        (protocol not in protocols, Refusal.OTHER_PROTOCOL),
        (not policy.allows(MailboxType(row.type)), Refusal.SWITCHED_OFF),
    ):
        if wrong:
            raise LoginRefused(reason, row.account_id)
    return Proof(
        account=row.account_id,
        factors=1,
        method=Method.APP_PASSWORD,
        credential_id=row.id,
        mailbox_id=row.mailbox_id,
        protocols=protocols,
        at=at,
    )


def bound_to(row: Row[Any]) -> bytes:
    """Associated data of the verifier of a row of `credentials`: it opens nothing elsewhere."""
    return _bound_to(row.account_id, row.lookup, row.mailbox_id, row.protocols, row.ends_at)


def _bound_to(
    account_id: int, lookup: str, mailbox_id: int, protocols: str, ends_at: datetime | None
) -> bytes:
    # Any values at all: a row that SQL has altered must be found out, not stop its reader.
    end = None if ends_at is None else microseconds(ends_at)
    facts = ("app_password", account_id, lookup, mailbox_id, protocols, end)
    return " ".join(map(str, facts)).encode("utf-8", "surrogatepass")


# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_FOUND: Final = (
    select(credentials, accounts.c.state, mailboxes.c.type)
    .join_from(credentials, accounts)
    .join(mailboxes, credentials.c.mailbox_id == mailboxes.c.id)
    .where(
        credentials.c.kind == CredentialKind.APP_PASSWORD.value,
        credentials.c.lookup == bindparam("lookup"),
        credentials.c.revoked_at.is_(None),
    )
)
