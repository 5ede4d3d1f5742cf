"""Run folder: a daemon starts with any file in place of its entries, or says why not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mssante_operator.errors import Outage
from mssante_operator.machine.run_directory import RunFolder
from mssante_operator.settings.model import SettingsError
from relay.connection.worker_load import WorkerLoad
from tests.support.machines.daemon import get, lay_out, served
from tests.support.waiting import until_now


def _file(path: Path) -> None:
    path.write_text("junk")


def _folder(path: Path) -> None:
    (path / "x").mkdir(parents=True)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


KINDS = (_file, _folder, _dangling)
ENTRIES = ("metrics", "seats", "courier", "clock", "silent", "openssl-1.cnf")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_of_the_wrong_kind_is_made_anew(
    tmp_path: Path, entry: str, kind: Callable[[Path], None]
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    kind(folder.path / entry)
    lock = folder.lock()
    assert lock is not None
    with lock:
        folder.clear()
        assert (folder.path / "metrics").is_dir()
        WorkerLoad.take(folder.worker_loads).clear()
        (folder.path / "courier").open("w").close()
        folder.clock.open("a").close()
        folder.environment(1, ["X25519"])


@pytest.mark.parametrize(
    ("entry", "kind", "says"),
    [
        ("run", _file, "run: is not a folder: unexpected here; remove it"),
        (
            "run",
            _dangling,
            "run: link to nowhere/at/all, which does not exist; create it or remove",
        ),
        ("run/lock", _folder, "run/lock: is a folder: unexpected here; remove it"),
        (
            "run/lock",
            _dangling,
            "run/lock: link to nowhere/at/all, which does not exist; create it",
        ),
    ],
)
def test_what_a_daemon_may_hold_is_named_and_left(
    tmp_path: Path, entry: str, kind: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / entry
    path.parent.mkdir(exist_ok=True)
    kind(path)
    with pytest.raises(SettingsError) as refused:
        RunFolder(tmp_path / "run").lock()
    assert str(refused.value).startswith(f"{tmp_path}/{says}")
    assert path.is_symlink() or path.exists()


def test_a_daemon_starts_whatever_is_in_its_run_folder(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    run = daemon.folder / "data" / "run"
    run.mkdir()
    kinds = (_file, _folder, _dangling, _folder, _dangling, _folder)
    for entry, kind in zip(ENTRIES, kinds, strict=True):
        kind(run / entry)
    with served(daemon):
        pass
    assert "Traceback" not in daemon.log()


def test_a_lock_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    _folder(daemon.folder / "data" / "run" / "lock")
    said = daemon.run("serve", code=1)
    assert said.count("\n") == 1
    assert "run/lock: is a folder" in said


@pytest.mark.parametrize("kind", [_file, _dangling])
def test_a_folder_of_bodies_that_is_none_is_one_line(
    tmp_path: Path, kind: Callable[[Path], None]
) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    with daemon.store():
        pass
    fanout = daemon.folder / "data" / "blobs" / "a7"
    shutil.rmtree(fanout)
    kind(fanout)
    said = daemon.run("serve", code=1)
    assert said.count("\n") == 1
    assert f"cannot make the blob store {fanout}: File exists" in said


def test_a_fault_of_ours_is_told_though_the_database_is_away(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    text = daemon.config.read_text()
    away = 'directory = "data"\ndatabase = "postgresql://mssante@127.0.0.1:1/mssante"'
    daemon.config.write_text(text.replace('directory = "data"', away))
    bodies = daemon.folder / "data" / "blobs"
    shutil.rmtree(bodies)
    _file(bodies)
    (told,) = [line for line in daemon.run("config", "check", code=1).splitlines() if "NO" in line]
    assert f"storage: cannot make the blob store {bodies}" in told
    said = daemon.run("serve", code=1)
    assert said.count("\n") == 1
    assert told.endswith(said.removeprefix("mssante: ").rstrip())


def test_a_disk_without_room_is_waited_for(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "openssl-1.cnf").symlink_to("/dev/full")
    with pytest.raises(Outage, match="No space left on device"):
        folder.environment(1, ["X25519"])


def test_a_machine_waits_for_room_for_its_name(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a")
    draft = daemon.folder / "data" / "node.tmp"
    draft.symlink_to("/dev/full")
    with served(daemon):
        until_now(lambda: "courier: " in get(daemon, "/readyz")[1])
        draft.unlink()
        until_now(lambda: get(daemon, "/readyz")[0] == 200)
    assert (daemon.folder / "data" / "node").read_text()


def test_what_the_supervisor_counts_is_noted_for_others(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.silent() == {}
    folder.counts_silent({"worker": 2, "courier": 0})
    assert folder.silent() == {"worker": 2, "courier": 0}
    for torn in ('{"worker": ', "[1]", '{"worker": "x"}'):
        (tmp_path / "silent").write_text(torn)
        assert folder.silent() == {}
