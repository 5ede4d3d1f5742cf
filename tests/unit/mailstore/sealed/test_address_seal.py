"""Tokens of patients' addresses: what opens them, and what does not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.unreadable_text import KEY_MISSING, SEALED, UnreadableText
from mailstore.sealed.address_seal import AddressSeal
from mailstore.sealed.keyring import Keyring, make_first, rotate
from tests.support.storage.blobs import MADE, keyring

INS = "185017512345678"
PATIENT = f"{INS}@patient.mssante.fr"


@pytest.fixture
def seal(tmp_path: Path) -> AddressSeal:
    return AddressSeal(keyring(tmp_path))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> AddressSeal:
    return AddressSeal(keyring(tmp_path_factory.mktemp("keys")))


@given(text=st.text(max_size=80), column=st.sampled_from(["a.b", "c.d"]))
def test_each_text_comes_back_as_it_was(lasting: AddressSeal, text: str, column: str) -> None:
    token = lasting.seal(text, column)
    assert token.startswith(SEALED)
    assert lasting.open(token, column) == text
    assert isinstance(lasting.open(token, "elsewhere"), UnreadableText)


def test_the_domain_stays_and_the_local_part_does_not(seal: AddressSeal) -> None:
    token = seal.seal(PATIENT, "entries.recipient")
    assert token.endswith("@patient.mssante.fr")
    assert INS not in token
    assert token == seal.seal(PATIENT, "entries.recipient")
    moved = token.replace("patient.mssante.fr", "a.mssante.fr")
    assert isinstance(seal.open(moved, "entries.recipient"), UnreadableText)


def test_an_altered_token_does_not_open(seal: AddressSeal) -> None:
    token = seal.seal(PATIENT, "a.b")
    for place in range(len(SEALED), token.index("@")):
        other = "A" if token[place] != "A" else "B"
        opened = seal.open(token[:place] + other + token[place + 1 :], "a.b")
        # The last characters of base64 have bits without a meaning.
        assert isinstance(opened, UnreadableText) or place >= token.index("@") - 3


@pytest.mark.parametrize("end", ["", "@patient.mssante.fr", "é", "A"])
def test_nonsense_is_unreadable_and_no_error(seal: AddressSeal, end: str) -> None:
    token = f"{SEALED}{end}"
    opened = seal.open(token, "a.b")
    assert isinstance(opened, UnreadableText)
    assert opened == KEY_MISSING
    assert opened.token == token


def test_a_search_finds_what_older_keys_sealed_in_either_case(tmp_path: Path) -> None:
    seal = AddressSeal(keyring(tmp_path))
    corsican = "185012A12345666@patient.mssante.fr"
    before = seal.seal(corsican, "a.b")
    rotate(tmp_path / "keys", MADE)
    assert seal.seal(corsican, "a.b") != before
    assert before in seal.tokens(corsican.lower(), "a.b")
    assert seal.seal(corsican, "a.b") in seal.tokens(corsican.lower(), "a.b")
    assert not seal.is_newest(before)
    assert seal.is_newest(seal.seal(corsican, "a.b"))


def test_without_its_key_a_token_is_unreadable(tmp_path: Path, seal: AddressSeal) -> None:
    token = seal.seal(PATIENT, "a.b")
    other = tmp_path / "other"
    make_first(other, MADE)
    assert isinstance(AddressSeal(Keyring(other)).open(token, "a.b"), UnreadableText)


def test_a_store_that_encrypts_no_more_writes_clear_texts_and_reads_both(tmp_path: Path) -> None:
    keys = keyring(tmp_path)
    token = AddressSeal(keys).seal(PATIENT, "a.b")
    clear = AddressSeal(keys, encrypt=False)
    assert clear.seal(PATIENT, "a.b") == PATIENT
    assert clear.open(token, "a.b") == PATIENT
