"""One-time codes (RFC 6238): window, and each step once."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.credentials.credentials import list_credentials
from mailstore.credentials.totp import (
    STEP,
    accepted_step,
    new_secret,
    open_secret,
    parse_code,
    provisioning_uri,
    set_totp,
    take_step,
)
from mailstore.db.database import Database
from mailstore.db.people_schema import credentials
from mailstore.errors import InvalidCredential, SealBroken
from mailstore.sealed.keyring import Keyring
from tests.support.clock import NOW
from tests.support.people.accounts import person

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # of RFC 6238 appendix B, in base32


def code(step: int) -> str:
    return pyotp.TOTP(SECRET).generate_otp(step)


@pytest.mark.parametrize(
    ("seconds", "digits"),
    [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")],
)
def test_the_vectors_of_rfc_6238(seconds: int, digits: str) -> None:
    """RFC 6238 appendix B; the last six of its eight digits."""
    at = datetime.fromtimestamp(seconds, UTC)
    assert accepted_step(SECRET, digits, at, None) == seconds // STEP
    assert accepted_step(SECRET, f" {digits[:3]} {digits[3:]} ", at, None) == seconds // STEP


@pytest.mark.parametrize("text", ["", "12345", "1234567", "12a456", "１２３４５６", "²23456"])
def test_other_texts_are_no_code(text: str) -> None:
    assert parse_code(text) is None
    assert accepted_step(SECRET, text, NOW, None) is None


@given(offset=st.integers(-5, 5), last=st.none() | st.integers(-5, 5))
def test_the_window_is_one_step_on_either_side(offset: int, last: int | None) -> None:
    present = int(NOW.timestamp()) // STEP
    used = None if last is None else present + last
    good = abs(offset) <= 1 and (last is None or offset > last)
    expected = present + offset if good else None
    assert accepted_step(SECRET, code(present + offset), NOW, used) == expected


@given(
    attempts=st.lists(st.tuples(st.integers(0, 90), st.integers(-2, 2)), min_size=1, max_size=30)
)
def test_no_step_opens_twice(attempts: list[tuple[int, int]]) -> None:
    """RFC 6238 §5.2: whatever the order of codes, each is good once, and never an earlier one."""
    at, last, taken = NOW, None, []
    for wait, offset in attempts:
        at += timedelta(seconds=wait)
        step = accepted_step(SECRET, code(int(at.timestamp()) // STEP + offset), at, last)
        if step is not None:
            taken.append(step)
            last = step
    assert taken == sorted(set(taken))


def test_a_secret_is_kept_sealed_for_its_account(database: Database, keys: Keyring) -> None:
    secret = new_secret()
    assert len(secret) == 32  # 160 bits
    present = int(NOW.timestamp()) // STEP
    shown = pyotp.TOTP(secret).generate_otp(present)
    with database.write() as conn:
        claire = person(conn, "claire")
        with pytest.raises(InvalidCredential, match="compare the clocks"):
            set_totp(conn, claire, secret, "000000" if shown != "000000" else "1", keys, now=NOW)
        assert set_totp(conn, claire, secret, shown, keys, now=NOW) == []
        (row,) = conn.execute(credentials.select())
        assert secret.encode() not in row.verifier
        assert open_secret(row.verifier, claire.id, keys) == secret
        with pytest.raises(SealBroken):
            open_secret(row.verifier, claire.id + 1, keys)
        # The code that confirmed it is used up.
        assert row.last_step == present
        assert not take_step(conn, row.id, present)
        assert take_step(conn, row.id, present + 1)
        assert not take_step(conn, row.id, present)
        (first,) = list_credentials(conn, claire.id)
        (ended,) = set_totp(conn, claire, secret, shown, keys, now=NOW)
        assert ended.credential == first.id
        assert not take_step(conn, first.id, present + 9)


def test_the_uri_for_the_app() -> None:
    uri = provisioning_uri(SECRET, "claire", "CHU de Lyon")
    assert uri == (f"otpauth://totp/CHU%20de%20Lyon:claire?secret={SECRET}&issuer=CHU%20de%20Lyon")
