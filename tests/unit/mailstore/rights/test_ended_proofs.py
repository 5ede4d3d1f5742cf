"""Whatever ended since the log-in opens nothing at the next question (DOMAIN §9.36).

Doors ask `may` with the proof of the log-in, and notice endings of other processes by a number.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from mailstore.accounts.accounts import Account, get_account_by_id
from mailstore.accounts.changes import access_number
from mailstore.accounts.tenants import get_tenant, give_domain
from mailstore.credentials.credentials import (
    CredentialKind,
    insert_credential,
    revoke_credential,
)
from mailstore.credentials.proof import Method, Proof
from mailstore.db.database import Database
from mailstore.rights import break_glass, roles, team_moves
from mailstore.rights.break_glass import Asker
from mailstore.rights.facts import load_actor, load_mailbox
from mailstore.rights.may import may
from mailstore.rights.model import Action, Period, Reason, Role, RoleName
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.people.proofs import shown

HOUR = timedelta(hours=1)


@pytest.fixture
def home(database: Database) -> House:
    with database.write() as conn:
        return house.build(conn)


def doctor(conn: Connection, home: House) -> Account:
    return get_account_by_id(conn, home.accounts["dr.martin"])


def added(conn: Connection, home: House, kind: CredentialKind, **columns: object) -> int:
    number = insert_credential(conn, doctor(conn, home), kind, "x", b"x", now=NOW, **columns)
    assert number is not None
    return number


def logged_in(home: House, first: int, second: int | None = None) -> Proof:
    return Proof(
        account=home.accounts["dr.martin"],
        factors=2,
        method=Method.PASSWORD,
        credential_id=first,
        second_id=second,
        at=NOW,
    )


def reads(conn: Connection, proof: Proof, hours: float = 0) -> Reason:
    mailbox = load_mailbox(conn, house.PER)
    assert proof.account is not None
    facts = load_actor(conn, proof.account, proof, mailbox.id)
    return may(facts, Action.READ, mailbox, NOW + hours * HOUR).reason


@pytest.mark.parametrize("which", [0, 1])
def test_a_revoked_credential_ends_what_it_opened(
    database: Database, home: House, which: int
) -> None:
    with database.write() as conn:
        both = added(conn, home, CredentialKind.PASSWORD), added(conn, home, CredentialKind.TOTP)
        proof = logged_in(home, *both)
        assert reads(conn, proof) is Reason.HOLDER
        before = access_number(conn)
        revoke_credential(conn, doctor(conn, home), both[which], now=NOW)
        assert access_number(conn) != before
        assert reads(conn, proof) is Reason.NOT_LOGGED_IN


def test_a_credential_past_its_end_opens_nothing(database: Database, home: House) -> None:
    with database.write() as conn:
        number = added(conn, home, CredentialKind.OIDC, ends_at=NOW + HOUR)
        proof = replace(logged_in(home, number), method=Method.OIDC)
        assert reads(conn, proof, hours=0.5) is Reason.HOLDER
        assert reads(conn, proof, hours=1) is Reason.NOT_LOGGED_IN


def test_a_recovery_code_that_was_used_up_is_no_end(database: Database, home: House) -> None:
    with database.write() as conn:
        password = added(conn, home, CredentialKind.PASSWORD)
        code = added(conn, home, CredentialKind.RECOVERY)
        revoke_credential(conn, doctor(conn, home), code, now=NOW)  # as its use does
        assert reads(conn, logged_in(home, password, code)) is Reason.HOLDER


def test_a_break_glass_access_ends_with_the_role(database: Database, home: House) -> None:
    number = home.accounts["sec.durand"]
    with database.write() as conn:
        role = roles.give_role(conn, number, Role(RoleName.OPERATOR, Period(NOW)), given_by="root")
        who = Asker(number, "sec.durand", "alice")
        box = home.mailboxes[house.ORG]
        break_glass.ask(conn, box, who, "x", NOW, NOW + HOUR, needs_second=False)
        mailbox = load_mailbox(conn, house.ORG)
        reasons = []
        for _ in range(2):
            facts = load_actor(conn, number, shown(Method.PASSWORD, 2), mailbox.id)
            reasons.append(may(facts, Action.READ, mailbox, NOW).reason)
            if len(reasons) == 1:
                roles.end_role(conn, role, NOW)
        assert reasons[0] is Reason.BREAK_GLASS
        assert reasons[1] is not Reason.BREAK_GLASS


def end_role(conn: Connection, home: House) -> None:
    role = Role(RoleName.OPERATOR, Period(NOW))
    number = roles.give_role(conn, home.accounts["sec.durand"], role, given_by="root")
    roles.end_role(conn, number, NOW)


def end_access(conn: Connection, home: House) -> None:
    access = break_glass.ask(
        conn,
        home.mailboxes[house.ORG],
        Asker(None, None, "root"),
        "x",
        NOW,
        NOW + HOUR,
        needs_second=False,
    )
    break_glass.close_access(conn, access.id, NOW)


def end_move(conn: Connection, home: House) -> None:
    box = home.mailboxes[house.ORG]
    team_moves.begin_move(conn, box, NOW, NOW + HOUR)
    team_moves.end_move(conn, box, NOW)


def move_domain(conn: Connection, home: House) -> None:
    assert home.tenants
    give_domain(conn, "chu.mssante.fr", get_tenant(conn, "clinique"), now=NOW)


@pytest.mark.parametrize("end", [end_role, end_access, end_move, move_domain])
def test_doors_of_other_processes_notice(
    database: Database, home: House, end: Callable[[Connection, House], None]
) -> None:
    with database.write() as conn:
        before = access_number(conn)
        end(conn, home)
        assert access_number(conn) != before
