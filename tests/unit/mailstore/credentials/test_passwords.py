"""Passwords that people choose: rules, argon2id, few at once."""

import threading

import pytest
from argon2 import Parameters, extract_parameters
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from mailstore.accounts.endings import CredentialEnded
from mailstore.credentials.credentials import list_credentials
from mailstore.credentials.passwords import PasswordHashes, check_password_rules, set_password
from mailstore.db.database import Database
from mailstore.errors import InvalidCredential, StoreUnavailable
from tests.support.clock import NOW
from tests.support.people.accounts import person


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("trop court!", "11 characters; give 12 to 256"),
        ("é" * 257, "257 characters"),
        ("claire.martin", "hardly more than the log-in name"),
        ("Claire.Martin2026", "hardly more than the log-in name"),
        ("abababababab", "repeats few characters"),
        ("un mot\x00 de passe", "cannot be seen"),
        ("un mot de passe \udce9", "cannot be seen, or is not UTF-8"),
    ],
)
def test_weak_passwords_are_refused(password: str, says: str) -> None:
    with pytest.raises(InvalidCredential, match=says):
        check_password_rules("claire.martin", password)


@pytest.mark.parametrize("password", ["quatre mots assez longs", "claire.martin aime le café"])
def test_sentences_are_good(password: str) -> None:
    check_password_rules("claire.martin", password)


def test_the_parameters_are_the_second_choice_of_rfc_9106() -> None:
    """RFC 9106 §4: argon2id, 64 MiB, 3 passes, 4 lanes, 128 bits of salt, 256 of tag."""
    hashes = PasswordHashes()
    verifier = hashes.hash("quatre mots assez longs")
    assert verifier.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    salt, tag = verifier.split("$")[-2:]
    assert (len(salt), len(tag)) == (22, 43)  # base64 of 16 and 32 octets
    assert not hashes.outdated(verifier)


def test_matching(hashes: PasswordHashes) -> None:
    verifier = hashes.hash("Café au lait sucré")
    assert hashes.matches("Cafe\u0301 au lait sucré", verifier)  # RFC 8265 §4.2: NFC
    assert not hashes.matches("café au lait sucré", verifier)
    assert not hashes.matches("Café \udce9", verifier)
    assert not hashes.matches("Café au lait sucré", None)
    assert not hashes.matches("x", "not a hash")
    assert PasswordHashes().outdated(verifier)


@pytest.mark.parametrize("parameters", [CHEAPEST, RFC_9106_LOW_MEMORY])
def test_an_unknown_log_in_name_costs_a_whole_hash(parameters: Parameters) -> None:
    hashes = PasswordHashes(parameters=parameters)
    assert extract_parameters(hashes._nobody) == parameters
    # A malformed hash would be refused at once, by another error.
    with pytest.raises(VerifyMismatchError):
        hashes._hasher.verify(hashes._nobody, b"x")


def test_few_run_at_once() -> None:
    hashes = PasswordHashes(1, CHEAPEST, patience=0.05)
    verifier = hashes.hash("quatre mots assez longs")
    for stored in (verifier, None):
        with hashes._turn(), pytest.raises(StoreUnavailable, match="too many log-ins"):
            hashes.matches("x", stored)
    assert hashes.matches("quatre mots assez longs", verifier)


def test_who_waits_gets_a_turn() -> None:
    hashes, done = PasswordHashes(1, CHEAPEST), []
    with hashes._turn():
        waiting = threading.Thread(target=lambda: done.append(hashes.hash("x")))
        waiting.start()
    waiting.join()
    assert len(done) == 1


def test_a_new_password_takes_the_place_of_the_old(database: Database) -> None:
    with database.write() as conn:
        claire = person(conn, "claire")
        assert set_password(conn, claire, "$argon2id$1", now=NOW) == []
        (first,) = list_credentials(conn, claire.id)
        ended = set_password(conn, claire, "$argon2id$2", now=NOW)
        assert ended == [CredentialEnded(credential=first.id, account=claire.id, at=NOW)]
        old, new = list_credentials(conn, claire.id)
        assert (old.revoked_at, new.revoked_at) == (NOW, None)
        assert not old.live(NOW)
        assert new.live(NOW)
