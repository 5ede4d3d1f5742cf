"""Shared password of a team that moves: one mailbox, for a time, with its audit row."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from mailstore.audit.event import AuditActor, Door
from mailstore.audit.trail import AuditTrail
from mailstore.credentials.app_passwords import AppPasswordPolicy
from mailstore.credentials.grace_passwords import USED, opens_by_shared_password
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes, set_password
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.credentials.throttle import ACCOUNT_FREE_FAILURES, FREE_FAILURES
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials, team_moves
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights.facts import load_mailbox
from mailstore.rights.may import may
from mailstore.rights.model import Action, TeamFacts
from mailstore.rights.team_moves import begin_move, end_move, erase_outdated, get_move
from mailstore.sealed.keyring import Keyring
from tests.support.audit.trails import rows
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, person
from tests.support.people.refusals import refused

TEAM, OTHER = "bloc@chu.mssante.fr", "urgences@chu.mssante.fr"
PASSWORD, WRONG = "le mot de passe du bloc", "le mot de passe du hall"
UNTIL = NOW + timedelta(days=30)
IMAP = AuditActor(account=None, unix_user=None, door=Door.IMAP, origin="192.0.2.1")


@pytest.fixture
def door(database: Database, keys: Keyring, hashes: PasswordHashes, trail: AuditTrail) -> LogIn:
    with database.write() as conn:
        customer(conn, "chu", "chu.mssante.fr")
        mailbox = box(conn, TEAM, MailboxType.ORG)
        box(conn, OTHER, MailboxType.ORG)
        begin_move(conn, mailbox.id, NOW, UNTIL, hashes.hash(PASSWORD))
    return LogIn(database, keys, hashes, AppPasswordPolicy(), trail)


def log_in(
    door: LogIn,
    password: str = PASSWORD,
    mailbox: str = TEAM,
    *,
    origin: str = "192.0.2.1",
    at: datetime = NOW,
) -> Proof:
    return door.with_grace_password(mailbox, password, actor=IMAP, origin=origin, at=at)


def number(database: Database, address: str) -> int:
    with database.read() as conn:
        return get_mailbox(conn, address).id


def test_it_proves_one_factor_of_nobody_for_one_mailbox(database: Database, door: LogIn) -> None:
    proof = log_in(door, mailbox="  Bloc@CHU.mssante.fr ")
    assert proof == Proof(
        account=None,
        factors=1,
        method=Method.GRACE,
        credential_id=None,
        mailbox_id=number(database, TEAM),
        at=NOW,
    )
    with database.read() as conn:
        facts, other = load_mailbox(conn, TEAM), load_mailbox(conn, OTHER)
    team = TeamFacts(proof)
    assert may(team, Action.SEND, facts, UNTIL - timedelta(seconds=1)).allowed
    for action, mailbox, at in (
        (Action.MANAGE, facts, NOW),
        (Action.READ, other, NOW),
        (Action.READ, facts, UNTIL),
    ):
        assert not may(team, action, mailbox, at).allowed


def test_its_use_is_in_the_trail_once_an_hour(database: Database, door: LogIn) -> None:
    times = [NOW + timedelta(minutes=one) for one in (0, 30, 61)]
    for at in times:
        log_in(door, at=at)
    found = rows(database)
    assert [(row["event"], row["mailbox"], row["at"]) for row in found] == [
        (USED, TEAM, times[0]),
        (USED, TEAM, times[2]),
    ]
    row = found[0]
    assert (row["account"], row["door"], row["origin"]) == (None, "imap", "192.0.2.1")
    assert json.loads(row["facts"])["grace_until"].startswith(f"{UNTIL:%Y-%m-%d}")
    with database.read() as conn:
        assert get_move(conn, number(database, TEAM)).last_used_at == times[2]


def test_without_its_audit_row_nobody_gets_in(
    door: LogIn, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("the trail is full")

    with monkeypatch.context() as patch:
        patch.setattr(AuditTrail, "append", fail)
        with pytest.raises(StoreUnavailable, match="trail is full"):
            log_in(door)
    assert log_in(door).factors == 1
    assert len(rows(database)) == 1


def test_after_the_end_of_the_grace_it_is_worth_nothing(door: LogIn) -> None:
    assert log_in(door, at=UNTIL - timedelta(seconds=1)).factors == 1
    with refused(Refusal.ENDED):
        log_in(door, at=UNTIL)


def test_after_the_end_of_the_move_it_is_gone(database: Database, door: LogIn) -> None:
    with database.write() as conn:
        end_move(conn, number(database, TEAM), NOW)
    with refused(Refusal.UNKNOWN):
        log_in(door)
    assert verifiers(database) == [None]


def verifiers(database: Database) -> list[object]:
    with database.read() as conn:
        return list(conn.scalars(team_moves.select().with_only_columns(team_moves.c.verifier)))


def test_its_hash_does_not_outlast_the_grace(database: Database, door: LogIn) -> None:
    with database.write() as conn:
        assert erase_outdated(conn, UNTIL - timedelta(seconds=1)) == []
        (move,) = erase_outdated(conn, UNTIL)
        assert erase_outdated(conn, UNTIL) == []
    # The move goes on, with its report.
    assert (move.mailbox, move.shared, move.ended_at) == (TEAM, False, None)
    assert verifiers(database) == [None]
    with refused(Refusal.UNKNOWN):
        log_in(door, at=UNTIL)


def test_a_move_that_ends_during_the_check_opens_nothing(
    database: Database, door: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = PasswordHashes.matches

    def end_meanwhile(self: PasswordHashes, password: str, verifier: str | None) -> bool:
        with database.write() as conn:
            end_move(conn, number(database, TEAM), NOW)
        return right(self, password, verifier)

    monkeypatch.setattr(PasswordHashes, "matches", end_meanwhile)
    with refused(Refusal.ENDED):
        log_in(door)


@pytest.mark.parametrize("mailbox", [OTHER, "nobody@chu.mssante.fr", "a\0b", "\udcff", ""])
def test_no_other_mailbox_opens(door: LogIn, mailbox: str) -> None:
    with refused(Refusal.UNKNOWN) as unknown:
        log_in(door, mailbox=mailbox)
    with refused(Refusal.WRONG) as wrong:
        log_in(door, WRONG)
    # A stranger learns nothing from the answer.
    assert str(unknown.value) == str(wrong.value)


def test_a_move_without_a_shared_password_has_none(database: Database, door: LogIn) -> None:
    with database.write() as conn:
        move = begin_move(conn, number(database, OTHER), NOW, UNTIL)
    assert not move.shared
    with refused(Refusal.UNKNOWN):
        log_in(door, mailbox=OTHER)


def test_a_client_waits_after_wrong_ones(door: LogIn) -> None:
    for _ in range(FREE_FAILURES):
        with refused(Refusal.WRONG):
            log_in(door, WRONG)
    with refused(Refusal.THROTTLED):
        log_in(door)
    assert log_in(door, origin="192.0.2.2").factors == 1


def test_the_mailbox_waits_at_every_machine(
    database: Database, keys: Keyring, hashes: PasswordHashes, trail: AuditTrail, door: LogIn
) -> None:
    for one in range(ACCOUNT_FREE_FAILURES):
        with refused(Refusal.WRONG):
            log_in(door, WRONG, origin=f"192.0.2.{one}")
    elsewhere = LogIn(database, keys, hashes, AppPasswordPolicy(), trail)
    with refused(Refusal.THROTTLED):
        log_in(elsewhere, origin="198.51.100.1")
    later = NOW + timedelta(seconds=1)
    assert log_in(elsewhere, origin="198.51.100.1", at=later).factors == 1
    with refused(Refusal.WRONG):  # forgotten: no wait follows
        log_in(elsewhere, WRONG, origin="198.51.100.2", at=later)
    assert log_in(elsewhere, origin="198.51.100.3", at=later).factors == 1


@pytest.mark.usefixtures("door")
def test_an_account_of_the_same_name_goes_first(database: Database, hashes: PasswordHashes) -> None:
    with database.read() as conn:
        assert opens_by_shared_password(conn, TEAM.upper())
        assert not opens_by_shared_password(conn, OTHER)
        assert not opens_by_shared_password(conn, "a\0b")
    with database.write() as conn:
        set_password(conn, person(conn, TEAM), hashes.hash(PASSWORD), now=NOW)
        assert not opens_by_shared_password(conn, TEAM)


@pytest.mark.parametrize("log_in_by", ["password", "app_password"])
def test_it_is_no_password_of_an_account(door: LogIn, log_in_by: str) -> None:
    """DOMAIN §9.36: no shared password exists but here."""
    by: dict[str, Callable[[], Proof]] = {
        "password": lambda: door.with_password(TEAM, PASSWORD, None, origin="x", at=NOW),
        "app_password": lambda: door.with_app_password(
            PASSWORD, mailbox_id=1, protocol="imap", origin="x", at=NOW
        ),
    }
    with pytest.raises(LoginRefused):
        by[log_in_by]()


def test_no_kind_of_credential_is_shared() -> None:
    """DOMAIN §9.36: each credential belongs to one account."""
    assert not credentials.c.account_id.nullable
