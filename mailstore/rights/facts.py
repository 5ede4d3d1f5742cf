"""Facts for `may`, read from the database, a query for each kind.

Functions take a connection in a transaction, so that the facts are of one moment.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, or_, select

from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.credentials.credentials import CredentialKind
from mailstore.credentials.proof import Proof
from mailstore.db.people_schema import (
    account_identifiers,
    accounts,
    break_glass,
    credentials,
    grants,
    group_members,
    roles,
    team_moves,
)
from mailstore.db.schema import domains, mailbox_holders, mailboxes
from mailstore.errors import NotFound
from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType, read_stored
from mailstore.mailboxes.states import MailboxState
from mailstore.rights.model import (
    ActingAccount,
    ActorFacts,
    BreakGlass,
    Grant,
    MailboxFacts,
    Period,
    Right,
    Role,
    RoleName,
)

_PERSON_KINDS: Final = (IdentifierKind.RPPS.value, IdentifierKind.ADELI.value)


def load_mailbox(conn: Connection, address: str) -> MailboxFacts:
    """Return the facts of a mailbox. Raises NotFound."""
    row = conn.execute(_MAILBOX, {"address": address_key(address)}).one_or_none()
    if row is None:
        raise NotFound(f"there is no mailbox {address}")
    rpps = conn.scalars(_HOLDERS, {"mailbox": row.id})
    return MailboxFacts(
        id=row.id,
        type=MailboxType(row.type),
        state=MailboxState.CLOSED if row.deleted_at is not None else MailboxState(row.state),
        tenant_id=row.tenant_id,
        domain_id=row.domain_id,
        identifier=read_stored(row.identifier_kind, row.identifier_value),
        holders=frozenset(Identifier(IdentifierKind.RPPS, one) for one in rpps),
        grace_since=row.begun_at if row.ended_at is None else None,
        grace_until=row.grace_until if row.ended_at is None else None,
    )


def load_actor(
    conn: Connection, account_id: int, proof: Proof | None, mailbox_id: int | None = None
) -> ActorFacts:
    """Return the facts of an account; grants on one mailbox, or all. Raises NotFound.

    Grants and roles are returned whatever their period: `may` checks it at the time of each action.
    A proof by a credential that was revoked since is none: doors ask with the proof of the log-in.
    """
    row = conn.execute(_ACCOUNT, {"account": account_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no account with the number {account_id}")
    groups = frozenset(conn.scalars(_GROUPS, {"account": account_id}))
    query = select(grants).where(
        or_(grants.c.account_id == account_id, grants.c.group_id.in_(groups))
    )
    given = select(break_glass).where(break_glass.c.account_id == account_id)
    if mailbox_id is not None:
        query = query.where(grants.c.mailbox_id == mailbox_id)
        given = given.where(break_glass.c.mailbox_id == mailbox_id)
    shown, until = (None, None) if proof is None else _still(conn, proof)
    return ActorFacts(
        account=_account(row, conn.execute(_IDENTIFIERS, {"account": account_id}).all(), groups),
        proof=shown,
        proof_until=until,
        grants=tuple(read_grant(one) for one in conn.execute(query)),
        roles=tuple(read_role(one) for one in conn.execute(_ROLES, {"account": account_id})),
        break_glass=tuple(
            BreakGlass(one.mailbox_id, Period(_begin(one), one.ends_at))
            for one in conn.execute(given)
            if not one.needs_second or one.agreed_at is not None
        ),
    )


def read_grant(row: Row[Any]) -> Grant:
    """Return the grant of a row of `grants`."""
    columns = (
        (Right.READ, row.may_read),
        (Right.ACT, row.may_act),
        (Right.SEND, row.may_send),
        (Right.MANAGE, row.may_manage),
    )
    return Grant(
        mailbox_id=row.mailbox_id,
        rights=frozenset(right for right, given in columns if given),
        period=Period(row.begins_at, row.ends_at),
        account_id=row.account_id,
        group_id=row.group_id,
    )


def read_role(row: Row[Any]) -> Role:
    """Return the role of a row of `roles`."""
    return Role(
        RoleName(row.role), Period(row.begins_at, row.ends_at), row.tenant_id, row.domain_id
    )


def _still(conn: Connection, proof: Proof) -> tuple[Proof | None, datetime | None]:
    """The proof unless one of its credentials was revoked, and when the first of them ends."""
    ids = {one for one in (proof.credential_id, proof.second_id) if one is not None}
    if not ids:
        return proof, None
    found = conn.execute(_CREDENTIALS.where(credentials.c.id.in_(ids))).all()
    # A recovery code is revoked by its use.
    used = {one.id for one in found if one.kind == CredentialKind.RECOVERY.value}
    live = {one.id for one in found if one.revoked_at is None}
    if not ids <= live | used:
        return None, None
    return proof, min((one.ends_at for one in found if one.ends_at is not None), default=None)


def _begin(row: Row[Any]) -> datetime:
    begun: datetime = row.agreed_at if row.needs_second else row.asked_at
    return begun


def _account(row: Row[Any], identifiers: Any, groups: frozenset[int]) -> ActingAccount:
    return ActingAccount(
        id=row.id,
        login=row.login,
        tenant_id=row.tenant_id,
        kind=AccountKind(row.kind),
        state=AccountState(row.state),
        # An identity of Pro Santé Connect that is no national number holds no mailbox.
        identifiers=frozenset(
            Identifier(IdentifierKind(one.kind), one.value)
            for one in identifiers
            if one.kind in _PERSON_KINDS
        ),
        groups=groups,
    )


# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_MAILBOX = (
    select(
        mailboxes,
        domains.c.tenant_id,
        team_moves.c.begun_at,
        team_moves.c.grace_until,
        team_moves.c.ended_at,
    )
    .join_from(mailboxes, domains)
    .outerjoin(team_moves, team_moves.c.mailbox_id == mailboxes.c.id)
    .where(mailboxes.c.address == bindparam("address"))
)
_HOLDERS = select(mailbox_holders.c.rpps).where(
    mailbox_holders.c.mailbox_id == bindparam("mailbox")
)
_ACCOUNT = select(accounts).where(accounts.c.id == bindparam("account"))
_IDENTIFIERS = select(account_identifiers).where(
    account_identifiers.c.account_id == bindparam("account"),
    account_identifiers.c.ended_at.is_(None),
)
_GROUPS = select(group_members.c.group_id).where(group_members.c.account_id == bindparam("account"))
_CREDENTIALS = select(
    credentials.c.id, credentials.c.kind, credentials.c.revoked_at, credentials.c.ends_at
)
_ROLES = select(roles).where(roles.c.account_id == bindparam("account"))
