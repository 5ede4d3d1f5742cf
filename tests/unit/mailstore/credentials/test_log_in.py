"""Log-in by password, code and app password (DOMAIN §9.36: two factors, nothing shared)."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from argon2 import Parameters
from argon2.profiles import CHEAPEST
from sqlalchemy import update

from mailstore.accounts.accounts import get_account, resume_account, suspend_account
from mailstore.audit.trail import AuditTrail
from mailstore.credentials.app_password_form import AppPassword
from mailstore.credentials.app_passwords import (
    AppPasswordRequest,
    add_app_password,
)
from mailstore.credentials.credentials import CredentialKind, list_credentials, revoke_kind
from mailstore.credentials.log_in import LogIn
from mailstore.credentials.passwords import PasswordHashes, set_password
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.credentials.recovery_codes import set_recovery_codes
from mailstore.credentials.throttle import ACCOUNT_FREE_FAILURES, FREE_FAILURES
from mailstore.db.database import Database
from mailstore.db.people_schema import accounts, credentials
from mailstore.sealed.keyring import Keyring
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, person
from tests.support.people.log_ins import (
    PASSWORD,
    PER,
    SOON,
    Counting,
    Meanwhile,
    code,
    log_in,
)
from tests.support.people.refusals import refused
from tests.support.people.tampering import flip_a_bit

DEARER = Parameters(
    type=CHEAPEST.type,
    version=CHEAPEST.version,
    salt_len=CHEAPEST.salt_len,
    hash_len=CHEAPEST.hash_len,
    time_cost=2,
    memory_cost=CHEAPEST.memory_cost,
    parallelism=CHEAPEST.parallelism,
)


def test_a_password_is_one_factor(database: Database, door: LogIn) -> None:
    with database.read() as conn:
        claire = get_account(conn, "claire")
        (password,) = list_credentials(conn, claire.id)
    assert log_in(door) == Proof(
        account=claire.id,
        factors=1,
        method=Method.PASSWORD,
        credential_id=password.id,
        at=NOW,
    )


def test_a_code_is_the_second_factor_domain_9_36(with_totp: LogIn) -> None:
    later = NOW + SOON
    with refused(Refusal.NEEDS_CODE):
        log_in(with_totp, at=later)
    with refused(Refusal.WRONG):
        log_in(with_totp, "quatre mots mal choisis", code(later), at=later)
    with refused(Refusal.WRONG):
        log_in(with_totp, given="000000", at=later)
    proof = log_in(with_totp, given=code(later), at=later)
    assert proof.factors == 2
    assert proof.second_id is not None
    # The same code again, even at another place at once.
    with refused(Refusal.WRONG):
        log_in(with_totp, given=code(later), at=later, origin="192.0.2.9")
    assert log_in(with_totp, given=code(later + SOON), at=later + SOON).factors == 2


def test_two_at_once_do_not_use_one_code(with_totp: LogIn) -> None:
    later, together = NOW + SOON, threading.Barrier(2)
    outcomes: list[object] = []

    def try_it(origin: str) -> None:
        together.wait()
        try:
            outcomes.append(log_in(with_totp, given=code(later), at=later, origin=origin).factors)
        except LoginRefused as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=try_it, args=(f"192.0.2.{n}",)) for n in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(map(str, outcomes)) == ["2", "wrong"]


def test_as_many_codes_are_free_as_one_by_one(
    database: Database, keys: Keyring, with_totp: LogIn, trail: AuditTrail
) -> None:
    """With a stolen password, tries at once are not more than tries in a row."""
    assert with_totp is not None
    tries = ACCOUNT_FREE_FAILURES + 6
    together = threading.Barrier(tries)
    at_once = LogIn(database, keys, Meanwhile(together.wait), PER, trail)
    reasons: list[Refusal] = []

    def try_it(number: int) -> None:
        try:
            log_in(at_once, given="000000", at=NOW + SOON, origin=f"192.0.2.{number}")
        except LoginRefused as error:
            reasons.append(error.reason)

    threads = [threading.Thread(target=try_it, args=(n,)) for n in range(tries)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert reasons.count(Refusal.WRONG) == ACCOUNT_FREE_FAILURES
    assert reasons.count(Refusal.THROTTLED) == 6


def test_failures_while_a_password_is_compared_count(
    database: Database, keys: Keyring, door: LogIn, trail: AuditTrail
) -> None:
    def fail() -> None:
        for number in range(ACCOUNT_FREE_FAILURES):
            with refused(Refusal.WRONG):
                log_in(door, "quatre mots mal choisis", origin=f"192.0.2.{number}")

    slow = LogIn(database, keys, Meanwhile(fail), PER, trail)
    with refused(Refusal.THROTTLED):
        log_in(slow, origin="198.51.100.1")


def test_an_account_that_ended_while_its_password_is_compared(
    database: Database, keys: Keyring, door: LogIn, trail: AuditTrail
) -> None:
    assert door is not None

    def suspend() -> None:
        with database.write() as conn:
            suspend_account(conn, "claire", "x", now=NOW)

    def revoke() -> None:
        with database.write() as conn:
            revoke_kind(conn, get_account(conn, "claire"), CredentialKind.PASSWORD, now=NOW)

    with refused(Refusal.ACCOUNT_STATE):
        log_in(LogIn(database, keys, Meanwhile(suspend), PER, trail))
    with database.write() as conn:
        resume_account(conn, "claire", now=NOW)
    with refused(Refusal.UNKNOWN):
        log_in(LogIn(database, keys, Meanwhile(revoke), PER, trail))


@pytest.mark.parametrize("text", ["\ud800", "mot de passe \udce9", "x" * 2_000_000])
def test_any_text_is_refused_as_a_wrong_one(with_totp: LogIn, text: str) -> None:
    """A JSON client may send a lone surrogate, and anybody megabytes."""
    with refused(Refusal.WRONG):
        log_in(with_totp, text)
    with refused(Refusal.WRONG):
        log_in(with_totp, given=text)


def test_a_recovery_code_replaces_the_app_once(
    database: Database, keys: Keyring, with_totp: LogIn
) -> None:
    with database.write() as conn:
        codes, _ = set_recovery_codes(conn, get_account(conn, "claire"), keys, now=NOW)
    assert log_in(with_totp, given=codes[3]).factors == 2
    with refused(Refusal.WRONG):
        log_in(with_totp, given=codes[3])


def test_whatever_is_wrong_costs_one_hash_and_says_the_same(
    database: Database, door: LogIn, counting: Counting
) -> None:
    with database.write() as conn:
        other = person(conn, "other")
        set_password(conn, other, counting.hash(PASSWORD), now=NOW)
        suspend_account(conn, "other", "x", now=NOW)
    texts, costs = set(), set()
    for login, password, reason in (
        ("nobody", PASSWORD, Refusal.UNKNOWN),
        ("\x00 é\udce9"[:3], PASSWORD, Refusal.UNKNOWN),
        ("paul", PASSWORD, Refusal.UNKNOWN),  # has no password
        ("claire", "quatre mots mal choisis", Refusal.WRONG),
        ("other", PASSWORD, Refusal.ACCOUNT_STATE),
        ("other", "quatre mots mal choisis", Refusal.WRONG),
    ):
        before = counting.compared
        with refused(reason) as caught:
            log_in(door, password, login=login)
        texts.add(str(caught.value))
        costs.add(counting.compared - before)
    assert costs == {1}
    assert len(texts) == 1


def test_a_pair_of_name_and_origin_waits_unseen_names_too(door: LogIn, counting: Counting) -> None:
    for login in ("claire", "nobody"):
        for _ in range(FREE_FAILURES):
            with pytest.raises(LoginRefused):
                log_in(door, "quatre mots mal choisis", login=login)
        before = counting.compared
        with refused(Refusal.THROTTLED):
            log_in(door, login=login)
        assert counting.compared == before  # a stranger who waits costs no hash
    assert log_in(door, origin="192.0.2.2").factors == 1
    assert log_in(door, at=NOW + timedelta(seconds=1)).factors == 1


def test_an_account_waits_at_every_machine(
    database: Database, keys: Keyring, door: LogIn, counting: Counting, trail: AuditTrail
) -> None:
    for number in range(ACCOUNT_FREE_FAILURES):
        with refused(Refusal.WRONG):
            log_in(door, "quatre mots mal choisis", origin=f"192.0.2.{number}")
    elsewhere = LogIn(database, keys, counting, PER, trail)
    before = counting.compared
    with refused(Refusal.THROTTLED):
        log_in(elsewhere, origin="198.51.100.1")
    assert counting.compared == before + 1  # as for an unknown name
    later = NOW + timedelta(seconds=1)
    assert log_in(elsewhere, origin="198.51.100.1", at=later).factors == 1
    with refused(Refusal.WRONG):  # forgotten: no wait follows
        log_in(elsewhere, "quatre mots mal choisis", origin="198.51.100.2", at=later)
    assert log_in(elsewhere, origin="198.51.100.3", at=later).factors == 1


def test_an_administrator_ends_the_wait(database: Database, door: LogIn) -> None:
    for number in range(ACCOUNT_FREE_FAILURES):
        with refused(Refusal.WRONG):
            log_in(door, "quatre mots mal choisis", origin=f"192.0.2.{number}")
    with database.write() as conn:
        resume_account(conn, "claire", now=NOW)
    assert log_in(door, origin="192.0.2.99").factors == 1


def test_a_closed_door_between_password_and_code(database: Database, with_totp: LogIn) -> None:
    later = NOW + SOON
    with database.write() as conn:
        revoke_kind(conn, get_account(conn, "claire"), CredentialKind.TOTP, now=NOW)
    with refused(Refusal.WRONG):
        log_in(with_totp, given=code(later), at=later)


def test_a_hash_of_other_parameters_is_made_anew(
    database: Database, keys: Keyring, door: LogIn, trail: AuditTrail
) -> None:
    dearer = PasswordHashes(parameters=DEARER)
    assert log_in(LogIn(database, keys, dearer, PER, trail)).factors == 1
    with database.read() as conn:
        (verifier,) = conn.scalars(credentials.select().with_only_columns(credentials.c.verifier))
    assert b"t=2" in verifier
    assert log_in(door).factors == 1


def test_an_altered_secret_is_told_apart(database: Database, with_totp: LogIn) -> None:
    with database.write() as conn:
        flip_a_bit(conn, credentials.c.kind == "totp")
    with refused(Refusal.ALTERED):
        log_in(with_totp, given=code(NOW + SOON), at=NOW + SOON)


def test_an_app_password_and_the_note_of_its_use(
    database: Database, keys: Keyring, door: LogIn
) -> None:
    with database.write() as conn:
        customer(conn, "chu", "chu.mssante.fr")
        mailbox = box(conn, "claire@chu.mssante.fr")
        owner = person(conn, "owner", customer(conn, "b", "b.mssante.fr").id)
        theirs = box(conn, "owner@b.mssante.fr")
        request = AppPasswordRequest(
            mailbox=theirs,
            name="poste",
            protocols=frozenset({"imap"}),
            ends_at=NOW + timedelta(days=1),
        )
        strong = Proof(account=owner.id, factors=2, method=Method.OIDC, credential_id=None, at=NOW)
        _, made = add_app_password(conn, owner, request, strong, PER, keys, now=NOW)

    def use(text: str, mailbox_id: int = theirs.id) -> Callable[[], Proof]:
        return lambda: door.with_app_password(
            text, mailbox_id=mailbox_id, protocol="imap", origin="192.0.2.1", at=NOW
        )

    proof = use(made.text())()
    door.note(proof, theirs.id)
    door.note(proof, theirs.id)
    with database.write() as conn:  # a clock was a year ahead for a while
        ahead = NOW + timedelta(days=365)
        conn.execute(update(accounts).values(last_login_at=ahead))
    door.note(proof, theirs.id)
    with database.read() as conn:
        assert get_account(conn, "owner").last_login_at == NOW
        assert list_credentials(conn, owner.id)[0].last_used_at == NOW
    with refused(Refusal.OTHER_MAILBOX):
        use(made.text(), mailbox.id)()
    # A client that tries again and again waits, and no other program of its hospital: nor one that
    # opens the same mailbox, as many do of a team.
    stale = AppPassword.new().text()
    for wrong in ("x", stale):
        for _ in range(FREE_FAILURES):
            with refused(Refusal.UNKNOWN):
                use(wrong)()
        with refused(Refusal.THROTTLED):
            use(wrong)()
    assert use(made.text())() == proof
