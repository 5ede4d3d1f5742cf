"""From a file to a list (DOMAIN §9.3-9.5): content, and errors."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.lists import forge
from tests.support.lists.hierarchy import NOW, SIGNER, listed, signed_list, trust
from tests.support.lists.real import REAL_LIST, needs_real_data, real_trust
from whitelist.errors import ListReason, ListRefused
from whitelist.national.reader import load_file, read_list
from whitelist.national.signed_file import MAX_LIST_BYTES
from whitelist.pki.distinguished_name import DistinguishedName

DATA = signed_list([listed("a.mssante.fr", "CN=relay.a.fr,O=A,C=FR")])


def test_octets_become_a_list() -> None:
    found = read_list(DATA, trust(), SIGNER, NOW)
    assert found.covers(DistinguishedName.parse("CN=relay.a.fr,O=A,C=FR"), "a.mssante.fr")
    assert found.digest == hashlib.sha256(DATA).hexdigest()
    assert found.signer.subject.common_name == SIGNER


def test_an_empty_list_is_a_list() -> None:
    assert read_list(signed_list([]), trust(), SIGNER, NOW).domains == 0


def test_signed_content_of_another_schema_is_refused() -> None:
    body = b"<NotTheList>x</NotTheList>"
    info = forge.signed_info(forge.reference(body=body))
    with pytest.raises(ListRefused) as caught:
        read_list(forge.placed(forge.signature(info), body), trust(), SIGNER, NOW)
    assert caught.value.reason is ListReason.WRONG_SCHEMA


def test_a_file_becomes_the_same_list(tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    path.write_bytes(DATA)
    assert load_file(path, trust(), SIGNER, NOW) == read_list(DATA, trust(), SIGNER, NOW)


@pytest.mark.parametrize("name", ["missing.xml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ListRefused, match=r"cannot be read \(.+\); give the path") as caught:
        load_file(tmp_path / name, trust(), SIGNER, NOW)
    assert caught.value.reason is ListReason.UNREADABLE
    assert str(tmp_path) in caught.value.detail


def test_a_file_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.xml"
    with path.open("wb") as file:
        file.truncate(MAX_LIST_BYTES * 100)
    with pytest.raises(ListRefused) as caught:
        load_file(path, trust(), SIGNER, NOW)
    assert caught.value.reason is ListReason.TOO_LARGE


@pytest.mark.integration
@needs_real_data
def test_the_real_file() -> None:
    found = load_file(REAL_LIST, real_trust(), SIGNER, datetime(2025, 3, 1, tzinfo=UTC))
    assert found.names == 383
    with pytest.raises(ListRefused) as caught:
        load_file(REAL_LIST, real_trust(), SIGNER, datetime(2026, 11, 22, tzinfo=UTC))
    assert caught.value.reason is ListReason.SIGNER_EXPIRED
