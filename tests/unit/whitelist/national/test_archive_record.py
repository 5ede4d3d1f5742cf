"""Record of an adoption: content, and invalid records (DOMAIN §9.12)."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import NOW
from tests.support.lists.lists import made
from whitelist.national.archive_record import ArchiveRecord, ListSource
from whitelist.national.difference import compare_lists

DATA, LIST = made(
    [("a.fr", "CN=s,O=X,C=FR"), ("b.fr", "CN=s, O=X, C=FR"), ("b.fr", "CN=t,C=FR")],
    datetime(2025, 2, 28, 16, 42, 7, tzinfo=timezone(timedelta(hours=1))),
)
VERSION = ArchiveRecord.of(LIST, NOW, ListSource.PUSH, accepted_shrink=True)


def test_what_a_record_says() -> None:
    assert json.loads(VERSION.to_line()) == {
        "digest": LIST.digest,
        "generated_at": "2025-02-28T15:42:07+00:00",
        "adopted_at": NOW.isoformat(),
        "entries": 3,
        "domains": 2,
        "dn_strings": 3,
        "names": 2,
        "signer": "CN=alb.mssante.fr,O=ÉDITEUR DE LISTE,C=FR",
        "signer_serial": "c0ffee",
        "source": "push",
        "accepted_shrink": True,
    }
    assert VERSION.to_line().count(b"\n") == 1
    assert VERSION.to_line().endswith(b"}\n")


def test_the_name_of_the_file() -> None:
    assert VERSION.file_name == f"20250228T154207Z-{LIST.digest[:12]}.xml"


def test_a_record_is_read_back() -> None:
    assert ArchiveRecord.from_line(VERSION.to_line()) == VERSION
    later = VERSION.to_line().replace(b"{", b'{"of a later release": 1, ', 1)
    assert ArchiveRecord.from_line(later) == VERSION


def test_a_record_says_what_changed_if_that_is_known() -> None:
    before = made([("a.fr", "CN=other,C=FR"), ("gone.fr", "CN=t,C=FR")])[1]
    found = compare_lists(before, LIST)
    version = ArchiveRecord.of(LIST, NOW, ListSource.PUSH, accepted_shrink=False, found=found)
    assert (version.added, version.removed, version.recertified) == (1, 1, 1)
    assert ArchiveRecord.from_line(version.to_line()) == version


RECORD = json.loads(VERSION.to_line())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        *(json.dumps({k: v for k, v in RECORD.items() if k != key}).encode() for key in RECORD),
        json.dumps(RECORD | {"digest": "../../etc/passwd"}).encode(),
        json.dumps(RECORD | {"digest": 7}).encode(),
        json.dumps(RECORD | {"generated_at": "2025-02-28T15:42:07"}).encode(),
        json.dumps(RECORD | {"adopted_at": 1}).encode(),
        json.dumps(RECORD | {"entries": None}).encode(),
        json.dumps(RECORD | {"source": "carrier pigeon"}).encode(),
    ],
)
def test_what_is_no_record(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # or json's own error
        ArchiveRecord.from_line(line)


@given(st.integers(min_value=0, max_value=len(VERSION.to_line()) - 2))
def test_a_record_cut_off_is_no_record(end: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # or json's own error
        ArchiveRecord.from_line(VERSION.to_line()[:end])


def test_times_are_in_utc() -> None:
    assert VERSION.generated_at.tzinfo is UTC
    assert ArchiveRecord.from_line(VERSION.to_line()).adopted_at.tzinfo is UTC
