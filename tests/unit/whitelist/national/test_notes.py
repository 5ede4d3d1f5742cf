"""Notes that tell all processes how current the list is."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.lists.hierarchy import NOW
from whitelist.errors import ArchiveError
from whitelist.national.archive import Archive
from whitelist.national.newest import ConfirmedList, KnownLists, SharedList

OWN = ConfirmedList("a" * 64, NOW)
THEIRS = SharedList("b" * 64, NOW - timedelta(hours=1), NOW)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "whitelist")


def test_what_is_noted_is_read_and_seen(archive: Archive) -> None:
    assert archive.known() == KnownLists()
    stamps = [archive.stamp()]
    archive.note_confirmed(OWN)
    stamps.append(archive.stamp())
    archive.note_shared(THEIRS)
    stamps.append(archive.stamp())
    assert archive.known() == KnownLists(OWN, THEIRS)
    archive.note_shared(None)
    stamps.append(archive.stamp())
    assert archive.known() == KnownLists(OWN, None)
    assert all(before != after for before, after in pairwise(stamps))
    archive.note_shared(None)  # no file to remove


@pytest.mark.parametrize(
    "octets",
    [b"", b"{", b"[]", b"{}", b'{"digest": "x", "at": "2026-01-01", "generated_at": 3}', b"\xff"],
)
def test_what_cannot_be_read_says_nothing(archive: Archive, octets: bytes) -> None:
    archive.note_confirmed(OWN)
    archive.note_shared(THEIRS)
    for name in ("confirmed", "shared"):
        (archive.folder / name).write_bytes(octets)
    assert archive.known() == KnownLists()


def test_a_check_is_asked_for_by_whoever_may_write(archive: Archive) -> None:
    assert archive.wanted_stamp() is None
    with pytest.raises(ArchiveError, match="wanted"):
        archive.want_check()  # no list was ever adopted
    archive.note_confirmed(OWN)
    archive.want_check()
    assert archive.wanted_stamp() is not None
