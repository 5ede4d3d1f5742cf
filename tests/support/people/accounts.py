"""Accounts and mailboxes for tests of people and their rights."""

from sqlalchemy import Connection, insert, select

from mailstore.accounts.accounts import (
    Account,
    add_account,
)
from mailstore.accounts.kinds import AccountKind
from mailstore.accounts.person_identifiers import PersonIdentifier, PersonIdentifierKind
from mailstore.accounts.tenants import Tenant, add_tenant, give_domain
from mailstore.db.people_schema import OPERATOR_TENANT, grants
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.mailboxes.model import Mailbox
from tests.support.clock import NOW

RPPS = PersonIdentifier(PersonIdentifierKind.RPPS, "10000001916")
OTHER_RPPS = PersonIdentifier(PersonIdentifierKind.RPPS, "10000005479")
PSI = PersonIdentifier(PersonIdentifierKind.PSI, "0b1f6d5e-9d0f-4a64-8f2d-5f2c8a9c3d10")

_HOLDERS = {
    MailboxType.PER: Identifier(IdentifierKind.RPPS, "10000001916"),
    MailboxType.CAB: Identifier(IdentifierKind.RPPS, "10000001916"),
    MailboxType.ORG: Identifier(IdentifierKind.FINESS, "2A0000154"),
    MailboxType.APP: Identifier(IdentifierKind.FINESS, "2A0000154"),
}


def person(conn: Connection, login: str, tenant_id: int = OPERATOR_TENANT) -> Account:
    """Add a person, named after the log-in name."""
    return add_account(
        conn,
        tenant_id,
        login,
        AccountKind.PERSON,
        family_name=login.title(),
        given_name="Claire",
        now=NOW,
    )


def program(conn: Connection, login: str, tenant_id: int = OPERATOR_TENANT) -> Account:
    """Add a program, named after the log-in name."""
    return add_account(
        conn, tenant_id, login, AccountKind.SOFTWARE, family_name=login.title(), now=NOW
    )


def customer(conn: Connection, name: str, domain: str) -> Tenant:
    """Add a tenant with a domain."""
    tenant = add_tenant(conn, name, now=NOW)
    add_domain(conn, domain, now=NOW)
    give_domain(conn, domain, tenant, now=NOW)
    return tenant


def box(conn: Connection, address: str, kind: MailboxType = MailboxType.PER) -> Mailbox:
    """Add a mailbox of a hosted domain."""
    return add_mailbox(conn, address, kind, _HOLDERS[kind], now=NOW)


def grant(conn: Connection, mailbox: Mailbox, account: int | None, group: int | None = None) -> int:
    """Let an account or a group read a mailbox, without end; returns the grant's id."""
    row = {
        "mailbox_id": mailbox.id,
        "account_id": account,
        "group_id": group,
        "may_read": True,
        "may_act": False,
        "may_send": False,
        "may_manage": False,
        "begins_at": NOW,
        "given_by": "test",
    }
    return int(conn.execute(insert(grants).values(row).returning(grants.c.id)).scalar_one())


def grant_ends(conn: Connection, grant_id: int) -> object:
    """End of a grant."""
    return conn.scalar(select(grants.c.ends_at).where(grants.c.id == grant_id))
