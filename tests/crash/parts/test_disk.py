"""Model of a disk: unsynced changes may be missing, in every way."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.disk import Cut, Disk
from tests.crash.recording import Event, events
from tests.support.faults import library, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

NOTHING, EVERYTHING = 0.0, 1.0

_WRITE = "f = open('new', 'wb', buffering=0); f.write(b'a' * 600);"
_SYNC = "os.fdatasync(f.fileno());"
_RENAME = "os.rename('new', 'name');"
_SYNC_FOLDER = "d = os.open('.', os.O_RDONLY); os.fsync(d);"
_SYNC_ALL = "import ctypes; d = os.open('.', os.O_RDONLY); ctypes.CDLL(None).syncfs(d);"


def recorded(folder: Path, program: str, libraries: Sequence[str] = ("record",)) -> Disk:
    """The disk after a program ran in a folder with an old file."""
    data, log = folder / "data", folder / "log"
    data.mkdir()
    (data / "old").write_bytes(b"before")
    disk = Disk(data)
    preload = ":".join(str(library(name)) for name in libraries)
    subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import os; {program}"],
        cwd=data,
        env={
            **os.environ,
            "LD_PRELOAD": preload,
            "RECORD_LOG": str(log),
            "RECORD_UNDER": str(data),
            "FAULTS": str(folder / "faults"),
        },
        check=True,
    )
    for event in events(log):
        disk.feed(event)
    return disk


def after(folder: Path, disk: Disk, keeps: float, seed: int = 1) -> dict[str, bytes]:
    """The files as a cut leaves them."""
    target, cache = folder / "cut", folder / "cache"
    cache.mkdir(exist_ok=True)
    disk.materialise(target, Cut(random.Random(seed), keeps), cache)
    found = {
        str(path.relative_to(target)): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }
    shutil.rmtree(target)
    return found


@pytest.mark.parametrize("program", [_WRITE, _WRITE + _SYNC, _WRITE + _SYNC + _RENAME])
def test_a_name_is_certain_only_after_its_folder_was_synced(tmp_path: Path, program: str) -> None:
    disk = recorded(tmp_path, program)
    assert after(tmp_path, disk, NOTHING) == {"old": b"before"}
    name = "name" if _RENAME in program else "new"
    assert after(tmp_path, disk, EVERYTHING) == {"old": b"before", name: b"a" * 600}


@pytest.mark.parametrize(
    ("program", "certain"),
    [
        (_WRITE + _SYNC + _RENAME + _SYNC_FOLDER, b"a" * 600),
        (_WRITE + _RENAME + _SYNC_ALL, b"a" * 600),
        (_WRITE + _RENAME + _SYNC_FOLDER, b""),  # a name without content
        (_WRITE + _SYNC + "f.write(b'b');" + _RENAME + _SYNC_FOLDER, b"a" * 600),
        (_WRITE + _SYNC + _RENAME + _SYNC_FOLDER + "f.truncate(3);", b"a" * 600),
        (_WRITE + _SYNC + _RENAME + _SYNC_FOLDER + "os.unlink('name');", b"a" * 600),
    ],
)
def test_what_is_certain(tmp_path: Path, program: str, certain: bytes) -> None:
    disk = recorded(tmp_path, program)
    assert after(tmp_path, disk, NOTHING) == {"old": b"before", "name": certain}


def test_what_is_not_certain_comes_in_every_shape(tmp_path: Path) -> None:
    disk = recorded(tmp_path, _WRITE + _RENAME)
    found = {tuple(sorted(after(tmp_path, disk, 0.5, seed).items())) for seed in range(200)}
    old = ("old", b"before")
    shapes = [(), (("name", b""),), (("name", b"a" * 600),), (("new", b"a" * 600),)]
    torn = [(("name", b"a" * 512),), (("name", bytes(600)),)]
    assert {tuple(sorted((old, *shape))) for shape in [*shapes, *torn]} <= found


def test_what_a_folder_holds_needs_its_folders_too(tmp_path: Path) -> None:
    program = (
        "os.mkdir('sub'); f = open('sub/file', 'wb', buffering=0); f.write(b'x');"
        "os.fsync(f.fileno()); d = os.open('sub', os.O_RDONLY); os.fsync(d);"
    )
    disk = recorded(tmp_path, program)
    assert after(tmp_path, disk, NOTHING) == {"old": b"before"}
    other = tmp_path / "other"
    other.mkdir()
    disk = recorded(other, program + _SYNC_FOLDER)
    assert after(other, disk, NOTHING) == {"old": b"before", "sub/file": b"x"}


def test_a_folder_may_be_used_before_its_making_is_recorded(tmp_path: Path) -> None:
    # Another process found the folder already there.
    data = tmp_path / "data"
    data.mkdir()
    disk = Disk(data)
    for event in (
        Event(1, "o", "", 7, 0, f"{data}/sub/file", b""),
        Event(2, "w", "", 7, 0, "", b"x"),
        Event(3, "m", "", 0, 0, f"{data}/sub", b""),
        Event(4, "b", "s", 0, 1, str(data), b""),
        Event(5, "d", "s", 0, 1, str(data), b""),
    ):
        assert after(tmp_path, disk, NOTHING) == {}
        disk.feed(event)
    assert after(tmp_path, disk, NOTHING) == {"sub/file": b"x"}


def test_positions_and_appends_are_those_of_the_file(tmp_path: Path) -> None:
    program = (
        "f = os.open('old', os.O_RDWR); os.pwrite(f, b'XY', 2); os.lseek(f, 1, 0);"
        "os.writev(f, [b'1', b'2']); os.close(f);"
        "g = os.open('old', os.O_WRONLY | os.O_APPEND); os.write(g, b'end'); os.fsync(g);"
    )
    disk = recorded(tmp_path, program)
    assert after(tmp_path, disk, NOTHING) == {"old": b"b12Yreend"}
    assert (tmp_path / "data" / "old").read_bytes() == b"b12Yreend"


def test_what_a_failed_sync_was_to_write_does_not_come_back(tmp_path: Path) -> None:
    # Linux reports the error once, and success from then on.
    (tmp_path / "faults").write_text("fdatasync */new once keep")
    program = _WRITE + (
        "import contextlib\n"
        "with contextlib.suppress(OSError): os.fdatasync(f.fileno())\n"
        "os.fdatasync(f.fileno()); d = os.open('.', os.O_RDONLY); os.fsync(d)"
    )
    disk = recorded(tmp_path, program, ("record", "fail"))
    assert after(tmp_path, disk, EVERYTHING) == {"old": b"before", "new": b""}
    assert (tmp_path / "faults.log").read_text().startswith("fdatasync ")
