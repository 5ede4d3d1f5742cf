"""Small values sealed for a row."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailstore.errors import KeyMissing, SealBroken
from mailstore.sealed.keyring import Keyring, make_first, rotate
from mailstore.sealed.small_values import open_value, seal_value, sealing_key
from tests.support.clock import NOW


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    make_first(tmp_path / "keys", NOW)
    return Keyring(tmp_path / "keys")


def test_a_value_comes_back(keys: Keyring) -> None:
    sealed = seal_value(b"secret", b"totp 1", keys)
    assert b"secret" not in sealed
    assert open_value(sealed, b"totp 1", keys) == b"secret"
    assert seal_value(b"secret", b"totp 1", keys) != sealed
    assert sealing_key(sealed) == keys.newest.id


def test_the_newest_key_seals_and_older_ones_open(keys: Keyring) -> None:
    before = seal_value(b"secret", b"", keys)
    rotate(keys.path, NOW)
    after = seal_value(b"secret", b"", keys)
    assert sealing_key(before) != sealing_key(after)
    assert open_value(before, b"", keys) == open_value(after, b"", keys)


def test_a_key_of_another_store(keys: Keyring, tmp_path: Path) -> None:
    sealed = seal_value(b"secret", b"", keys)
    make_first(tmp_path / "others", NOW)
    with pytest.raises(KeyMissing):
        open_value(sealed, b"", Keyring(tmp_path / "others"))


def test_another_row_and_another_form(keys: Keyring) -> None:
    sealed = seal_value(b"secret", b"totp 1", keys)
    with pytest.raises(SealBroken, match="another row"):
        open_value(sealed, b"totp 2", keys)
    for other in (b"", b"\2" + sealed[1:]):
        with pytest.raises(SealBroken, match="no form"):
            open_value(other, b"totp 1", keys)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 42), bit=st.integers(0, 7), cut=st.booleans())
def test_each_changed_bit_is_found(keys: Keyring, place: int, bit: int, *, cut: bool) -> None:
    sealed = seal_value(b"secret", b"totp 1", keys)
    altered = bytearray(sealed)
    altered[place] ^= 1 << bit
    with pytest.raises((SealBroken, KeyMissing)):
        open_value(sealed[:place] if cut else bytes(altered), b"totp 1", keys)
