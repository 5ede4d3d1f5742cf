"""Identities that others prove for us: certificates by their name, identities of OIDC providers.

The caller has checked the certificate's chain and its possession, or the provider's token. Each is
found within a tenant: a person or a program that works for two tenants has an account with each.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, select

from mailstore.accounts.accounts import (
    Account,
)
from mailstore.accounts.identifiers import AmbiguousPerson, match
from mailstore.accounts.kinds import AccountState
from mailstore.accounts.person_identifiers import PersonIdentifier
from mailstore.credentials.credentials import CredentialKind, check_end, insert_credential, live
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.db.people_schema import accounts, credentials
from mailstore.errors import Conflict, InvalidCredential

_LONGEST: Final = 2_048  # characters of an issuer or a subject
_BETWEEN: Final = "\n"  # neither an issuer nor a subject has one


def add_certificate(
    conn: Connection,
    account: Account,
    name: str,
    dn: str,
    *,
    folded: str,
    ends_at: datetime | None,
    now: datetime,
) -> int:
    """Let a certificate of this distinguished name log in as the account; returns its number.

    `dn`: the name to show; `folded`: its spelling that is the same for equal names. Raises
    InvalidCredential, InvalidName; Conflict for a name that an account of the tenant has.
    """
    check_end(ends_at, now)
    added = insert_credential(
        conn,
        account,
        CredentialKind.CERTIFICATE,
        name,
        dn.encode(),
        now=now,
        ends_at=ends_at,
        lookup=_lookup(account.tenant_id, folded),
    )
    if added is None:
        raise Conflict(f"an account of the tenant {account.tenant} has the certificate {dn}")
    return added


def check_certificate(conn: Connection, tenant_id: int, folded: str, *, at: datetime) -> Proof:
    """Find the account of a certificate that was validated. Raises LoginRefused."""
    return _check(
        conn, CredentialKind.CERTIFICATE, _lookup(tenant_id, folded), Method.CERTIFICATE, 1, at
    )


def add_oidc(
    conn: Connection,
    account: Account,
    name: str,
    issuer: str,
    subject: str,
    *,
    ends_at: datetime | None,
    now: datetime,
) -> int:
    """Let a subject of an OIDC provider log in as the account; returns the credential's number.

    Raises InvalidCredential, InvalidName; Conflict for one that an account of the tenant has.
    """
    check_end(ends_at, now)
    for part, text in (("issuer", issuer), ("subject", subject)):
        if not 0 < len(text) <= _LONGEST or not text.isprintable():
            raise InvalidCredential(f"the {part} {text!a} is empty, too long or not printable")
    if not issuer.startswith("https://"):
        raise InvalidCredential(f"the issuer {issuer} does not begin with https://")
    added = insert_credential(
        conn,
        account,
        CredentialKind.OIDC,
        name,
        f"{issuer}{_BETWEEN}{subject}".encode(),
        now=now,
        ends_at=ends_at,
        lookup=_lookup(account.tenant_id, issuer, subject),
    )
    if added is None:
        raise Conflict(
            f"an account of the tenant {account.tenant} has the subject {subject} of {issuer}"
        )
    return added


def check_oidc(
    conn: Connection,
    tenant_id: int,
    issuer: str,
    subject: str,
    identifiers: Iterable[PersonIdentifier] = (),
    *,
    factors: int,
    at: datetime,
) -> Proof:
    """Find the account of an identity that a provider has proved, with so many factors.

    First by issuer and subject; else by the national identifiers that the provider states, if it is
    trusted for these (DOMAIN §U3: a subject of Pro Santé Connect identifies nobody for long). If
    both lead to accounts, it must be the same one. Raises LoginRefused.
    """
    lookup = _lookup(tenant_id, issuer, subject)
    stated = list(identifiers)
    try:
        account = match(conn, tenant_id, stated)
    except AmbiguousPerson:
        raise LoginRefused(Refusal.AMBIGUOUS) from None
    try:
        proof = _check(conn, CredentialKind.OIDC, lookup, Method.OIDC, factors, at)
    except LoginRefused as refused:
        if refused.reason is not Refusal.UNKNOWN or not stated:
            raise
    else:
        if account is not None and account.id != proof.account:
            raise LoginRefused(Refusal.AMBIGUOUS)
        return proof
    if account is None:
        raise LoginRefused(Refusal.UNKNOWN)
    if account.state is not AccountState.ACTIVE:
        raise LoginRefused(Refusal.ACCOUNT_STATE, account.id)
    return Proof(account=account.id, factors=factors, method=Method.OIDC, credential_id=None, at=at)


def _check(
    conn: Connection, kind: CredentialKind, lookup: str, method: Method, factors: int, at: datetime
) -> Proof:
    row = conn.execute(
        select(credentials.c.id, credentials.c.account_id, accounts.c.state, live(at).label("live"))
        .join_from(credentials, accounts)
        .where(
            credentials.c.kind == kind.value,
            credentials.c.lookup == lookup,
            credentials.c.revoked_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise LoginRefused(Refusal.UNKNOWN)
    if row.state != AccountState.ACTIVE:
        raise LoginRefused(Refusal.ACCOUNT_STATE, row.account_id)
    if not row.live:
        raise LoginRefused(Refusal.ENDED, row.account_id)
    return Proof(
        account=row.account_id, factors=factors, method=method, credential_id=row.id, at=at
    )


def _lookup(tenant_id: int, *parts: str) -> str:
    return sha256(_BETWEEN.join((str(tenant_id), *parts)).encode()).hexdigest()
