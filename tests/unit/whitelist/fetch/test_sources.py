"""Lists read from files and folders."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.lists.hierarchy import NOW
from whitelist.errors import ListReason, ListRefused
from whitelist.fetch.sources import SourceStamp, read_source, source_stamp


def write(path: Path, data: bytes, seconds_ago: float) -> Path:
    path.write_bytes(data)
    at = NOW.timestamp() - seconds_ago
    os.utime(path, (at, at))
    return path


def unreadable(path: Path) -> ListRefused:
    with pytest.raises(ListRefused) as caught:
        read_source(path, NOW, max_bytes=100)
    assert caught.value.reason is ListReason.UNREADABLE
    return caught.value


def test_a_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "any.name", b"x" * 100, 0)
    found = read_source(path, NOW, max_bytes=100)
    assert (found.path, found.data) == (path, b"x" * 100)


def test_of_a_folder_the_list_that_was_modified_last(tmp_path: Path) -> None:
    write(tmp_path / "z.xml", b"old", 300)
    newest = write(tmp_path / "a.xml", b"new", 100)
    write(tmp_path / ".hidden.xml", b"hidden", 50)
    write(tmp_path / "b.xml.part", b"part", 50)
    write(tmp_path / "c.xml.tmp", b"tmp", 50)
    write(tmp_path / "d.txt", b"text", 50)
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "dangling.xml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.xml")
    found = read_source(tmp_path, NOW, max_bytes=100)
    assert (found.path, found.data) == (newest, b"new")


@pytest.mark.parametrize(
    ("age", "expected"), [(2.0, b"new"), (1.9, b"old"), (0, b"old"), (-1.9, b"old"), (-60, b"new")]
)
def test_a_list_still_being_written_waits(tmp_path: Path, age: float, expected: bytes) -> None:
    # A file dated in the future comes from a clock that is ahead: it must not wait for ever.
    write(tmp_path / "1.xml", b"old", 300)
    write(tmp_path / "2.xml", b"new", age)
    assert read_source(tmp_path, NOW, max_bytes=100).data == expected


def test_how_long_is_for_the_caller_to_say(tmp_path: Path) -> None:
    write(tmp_path / "1.xml", b"new", 0)
    assert read_source(tmp_path, NOW, max_bytes=9, settle=timedelta()).data == b"new"


def test_files_of_one_moment_are_taken_by_name(tmp_path: Path) -> None:
    for name in ("b.xml", "c.xml", "a.xml"):
        write(tmp_path / name, name.encode(), 100)
    assert read_source(tmp_path, NOW, max_bytes=100).data == b"c.xml"


def test_only_lists_still_being_written(tmp_path: Path) -> None:
    write(tmp_path / "1.xml", b"x", 1)
    assert "1.xml may still be growing; try again" in unreadable(tmp_path).detail


def test_nothing_to_read(tmp_path: Path) -> None:
    assert f"{tmp_path}: holds no *.xml file" in unreadable(tmp_path).detail
    missing = tmp_path / "missing.xml"
    assert f"{missing}: cannot be read (No such file" in unreadable(missing).detail
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in unreadable(tmp_path / "pipe").detail


def test_a_file_too_large(tmp_path: Path) -> None:
    path = tmp_path / "huge.xml"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ListRefused, match=r"huge\.xml: more than 100 octets") as caught:
        read_source(path, NOW, max_bytes=100)
    assert caught.value.reason is ListReason.TOO_LARGE


def read_for_ever(path: Path) -> None:
    while True:
        read_source(path, NOW, max_bytes=100)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "list.xml", b"x" * 50, 300)
    ended = threading.Event()

    def grow() -> None:
        moment = 0
        while not ended.is_set():
            moment += 1
            os.utime(path, (moment, moment))

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(ListRefused, match="changed while it was read"):
            read_for_ever(path)
    finally:
        ended.set()
        writer.join()


def stamp(path: Path, seconds: float = 0) -> SourceStamp:
    return source_stamp(path, NOW + timedelta(seconds=seconds))


def test_the_stamp_of_a_folder_changes_when_a_file_may_be_taken(tmp_path: Path) -> None:
    # An early check must not count as the check of that file.
    write(tmp_path / "1.xml", b"old", 300)
    before = stamp(tmp_path)
    write(tmp_path / "2.xml", b"new", 0)
    assert stamp(tmp_path) == before
    assert stamp(tmp_path, 1.9) == before
    settled = stamp(tmp_path, 2)
    assert settled != before
    assert read_source(tmp_path, NOW + timedelta(seconds=2), max_bytes=9).data == b"new"
    assert stamp(tmp_path, 3600) == settled
    write(tmp_path / "2.xml", b"newer", -4000)  # by a clock that is ahead
    assert stamp(tmp_path, 3600) != settled


def test_the_stamp_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    assert stamp(path) == ()
    write(path, b"x", 0)
    found = stamp(path)
    assert found  # a file given by name is read at any age
    write(path, b"xy", 0)
    assert stamp(path) != found
