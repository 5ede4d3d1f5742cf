"""Pauses between attempts, and lists read from files and folders."""

import os
import threading
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hierarchy import NOW
from whitelist.errors import ListRefused, Reason
from whitelist.fetching import (
    read_source,
    retry_delays,
)


def test_delays_double_up_to_the_longest() -> None:
    assert retry_delays(6, 10, 60, lambda: 0.0) == (10, 20, 40, 60, 60)
    assert retry_delays(6, 10, 60, lambda: 0.5) == (7.5, 15, 30, 45, 45)
    assert retry_delays(2, 90, 60, lambda: 0.0) == (60,)
    assert retry_delays(1, 10, 60, lambda: 0.0) == ()


@given(
    st.integers(1, 60),
    st.floats(0.1, 100),
    st.floats(0.1, 1e4),
    st.randoms(use_true_random=False),
)
def test_delays_stay_within_their_bounds(
    attempts: int, first: float, longest: float, randomness: Random
) -> None:
    delays = retry_delays(attempts, first, longest, randomness.random)
    assert len(delays) == attempts - 1
    assert all(min(first, longest) / 2 <= delay <= longest for delay in delays)


def test_each_delay_has_its_own_jitter() -> None:
    values = iter([0.0, 0.9, 0.3])
    assert retry_delays(4, 10, 10, lambda: next(values)) == pytest.approx((10, 5.5, 8.5))


# Files and folders


def write(path: Path, data: bytes, seconds_ago: float) -> Path:
    path.write_bytes(data)
    at = NOW.timestamp() - seconds_ago
    os.utime(path, (at, at))
    return path


def unreadable(path: Path) -> ListRefused:
    with pytest.raises(ListRefused) as caught:
        read_source(path, NOW, max_bytes=100)
    assert caught.value.reason is Reason.UNREADABLE
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
    # A file dated after now comes from a clock that is ahead: it must not wait for ever.
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
    assert caught.value.reason is Reason.TOO_LARGE


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
