"""A small operator in a database: two tenants, their domains, mailboxes, accounts and a group."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, update

from mailstore.db.people_schema import (
    account_groups,
    account_identifiers,
    accounts,
    group_members,
    tenants,
)
from mailstore.db.schema import domains, mailbox_holders
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
OTHER_RPPS = Identifier(IdentifierKind.RPPS, "10000005479")
FINESS = Identifier(IdentifierKind.FINESS, "2A0000154")

PER = "dr.martin@chu.mssante.fr"
ORG = "cardio@chu.mssante.fr"
APP = "labo@chu.mssante.fr"
CAB = "cabinet@chu.mssante.fr"
ABROAD = "cardio@clinique.mssante.fr"  # of the other tenant

_BOXES = (
    (PER, MailboxType.PER, RPPS),
    (ORG, MailboxType.ORG, FINESS),
    (APP, MailboxType.APP, FINESS),
    (CAB, MailboxType.CAB, OTHER_RPPS),
    (ABROAD, MailboxType.ORG, FINESS),
)


@dataclass(frozen=True)
class House:
    """Numbers by name: mailboxes by address, accounts by login, groups and tenants by name."""

    mailboxes: Mapping[str, int]
    accounts: Mapping[str, int]
    groups: Mapping[str, int]
    tenants: Mapping[str, int]


def add_account(
    conn: Connection,
    login: str,
    *,
    kind: str = "person",
    tenant_id: int = 1,
    identifier: Identifier | None = None,
    now: datetime = NOW,
) -> int:
    number: int = conn.execute(
        insert(accounts)
        .values(
            tenant_id=tenant_id,
            login=login,
            kind=kind,
            family_name=login,
            state="active",
            state_since=now,
            created_at=now,
        )
        .returning(accounts.c.id)
    ).scalar_one()
    if identifier is not None:
        conn.execute(
            insert(account_identifiers).values(
                account_id=number,
                tenant_id=tenant_id,
                kind=identifier.kind.value,
                value=identifier.value,
                since=now,
            )
        )
    return number


def join(conn: Connection, group_id: int, account_id: int, now: datetime = NOW) -> None:
    conn.execute(insert(group_members).values(group_id=group_id, account_id=account_id, since=now))


def set_account_state(conn: Connection, account_id: int, state: str) -> None:
    conn.execute(update(accounts).where(accounts.c.id == account_id).values(state=state))


def build(conn: Connection) -> House:
    """Build it; `conn` is in a write transaction."""
    other: int = conn.execute(
        insert(tenants).values(name="clinique", created_at=NOW).returning(tenants.c.id)
    ).scalar_one()
    add_domain(conn, "chu.mssante.fr", now=NOW)
    clinic = add_domain(conn, "clinique.mssante.fr", now=NOW)
    conn.execute(update(domains).where(domains.c.id == clinic.id).values(tenant_id=other))
    boxes = {
        address: add_mailbox(conn, address, kind, identifier, now=NOW).id
        for address, kind, identifier in _BOXES
    }
    conn.execute(insert(mailbox_holders).values(mailbox_id=boxes[CAB], rpps=RPPS.value, since=NOW))
    people = {
        "dr.martin": add_account(conn, "dr.martin", identifier=RPPS),
        "ide.petit": add_account(conn, "ide.petit"),
        "sec.durand": add_account(conn, "sec.durand"),
        "labo": add_account(conn, "labo", kind="software"),
        "abroad": add_account(conn, "abroad", tenant_id=other, identifier=OTHER_RPPS),
    }
    group: int = conn.execute(
        insert(account_groups)
        .values(tenant_id=1, name="bloc", created_at=NOW)
        .returning(account_groups.c.id)
    ).scalar_one()
    join(conn, group, people["ide.petit"])
    return House(boxes, people, {"bloc": group}, {"operator": 1, "clinique": other})
