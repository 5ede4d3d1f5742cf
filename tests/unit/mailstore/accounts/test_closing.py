"""Closing an account ends all that it has, at once (DOMAIN §9.36)."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, select

from mailstore.accounts.changes import access_number
from mailstore.accounts.closing import close_account
from mailstore.accounts.endings import (
    AccountEnded,
    CredentialEnded,
    GrantEnded,
    MembershipEnded,
)
from mailstore.accounts.groups import add_group, add_member, group_ids
from mailstore.accounts.identifiers import add_identifier, live_identifiers
from mailstore.accounts.kinds import AccountState
from mailstore.db.database import Database
from mailstore.db.people_schema import break_glass, credentials, grants, roles
from mailstore.errors import InvalidName, NotFound
from tests.support.clock import NOW
from tests.support.people import RPPS, box, customer, grant, grant_ends, person

LATER = NOW + timedelta(hours=1)
FUTURE = NOW + timedelta(days=30)


def credential(conn: Connection, account: int, revoked: datetime | None = None) -> int:
    row = {
        "account_id": account,
        "kind": "password",
        "name": "x",
        "created_at": NOW,
        "verifier": b"x",
        "revoked_at": revoked,
    }
    made = conn.execute(insert(credentials).values(row).returning(credentials.c.id))
    return int(made.scalar_one())


def test_closing_ends_everything_domain_9_36(database: Database) -> None:
    with database.write() as conn:
        chu = customer(conn, "chu", "chu.mssante.fr")
        claire, paul = person(conn, "claire", chu.id), person(conn, "paul", chu.id)
        mailbox = box(conn, "bloc@chu.mssante.fr")
        add_identifier(conn, "claire", RPPS, now=NOW)
        group = add_group(conn, chu.id, "bloc", now=NOW)
        for login in ("claire", "paul"):
            add_member(conn, group, login, now=NOW)
        password, revoked = credential(conn, claire.id), credential(conn, claire.id, NOW)
        others = credential(conn, paul.id), grant(conn, mailbox, paul.id)
        mine, of_group = grant(conn, mailbox, claire.id), grant(conn, mailbox, None, group.id)
        to_come = grant(conn, mailbox, claire.id)
        conn.execute(
            grants.update().where(grants.c.id == to_come).values(begins_at=FUTURE, ends_at=None)
        )
        role = {"account_id": claire.id, "role": "helpdesk", "begins_at": NOW, "given_by": "x"}
        conn.execute(insert(roles).values(role))
        conn.execute(
            insert(break_glass).values(
                mailbox_id=mailbox.id,
                account_id=claire.id,
                unix_user="root",
                reason="x",
                asked_at=NOW,
                ends_at=FUTURE,
                needs_second=False,
                tell_holder=True,
            )
        )
        before = access_number(conn)

        closed, endings = close_account(conn, "claire", " départ ", now=LATER)

        assert (closed.state, closed.state_since, closed.state_reason) == (
            AccountState.CLOSED,
            LATER,
            "départ",
        )
        assert endings[0] == AccountEnded(account=claire.id, at=LATER, closed=True)
        assert set(endings[1:]) == {
            CredentialEnded(credential=password, account=claire.id, at=LATER),
            *(
                GrantEnded(grant=one, mailbox=mailbox.id, account=claire.id, group=None, at=LATER)
                for one in (mine, to_come)
            ),
            MembershipEnded(account=claire.id, group=group.id, at=LATER),
        }
        assert access_number(conn) != before
        assert live_identifiers(conn, claire.id) == frozenset()
        assert (group_ids(conn, claire.id), group_ids(conn, paul.id)) == (frozenset(), {group.id})
        assert conn.scalars(select(roles.c.ends_at)).all() == [LATER]
        assert conn.scalars(select(break_glass.c.ends_at)).all() == [LATER]
        when = dict(conn.execute(select(credentials.c.id, credentials.c.revoked_at)).all())  # type: ignore[arg-type]
        assert when == {password: LATER, revoked: NOW, others[0]: None}
        ends = [grant_ends(conn, one) for one in (mine, to_come, of_group, others[1])]
        assert ends == [LATER, LATER, None, None]


def test_closing_needs_a_reason_and_an_account(database: Database) -> None:
    with database.write() as conn:
        person(conn, "claire")
        with pytest.raises(InvalidName, match="the reason is empty"):
            close_account(conn, "claire", "", now=NOW)
        with pytest.raises(NotFound):
            close_account(conn, "paul", "x", now=NOW)
