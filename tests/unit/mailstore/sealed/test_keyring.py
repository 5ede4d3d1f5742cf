"""Key file: private, replaced whole, never quoted in errors."""

import os
import threading
from pathlib import Path

import pytest

from mailstore.errors import InvalidKeys, KeyMissing
from mailstore.sealed import keyring as keys
from mailstore.sealed.keyring import Key, Keyring, make_first, read_keys, rotate
from tests.support.storage.blobs import MADE, keyring


def test_the_first_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    assert make_first(path, MADE)
    made = path.read_bytes()
    assert not make_first(path, MADE)
    assert path.read_bytes() == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys"]


def test_rotation_adds_and_keeps(tmp_path: Path) -> None:
    ring = keyring(tmp_path)
    first = ring.newest
    second = rotate(ring.path, MADE)
    assert read_keys(ring.path) == (first, second)
    assert ring.path.stat().st_mode & 0o777 == 0o600
    ring.refresh()
    assert ring.newest == second
    assert ring.get(first.id) == first


def test_rotations_at_once_are_all_kept(tmp_path: Path) -> None:
    path = keyring(tmp_path).path
    threads = [threading.Thread(target=rotate, args=(path, MADE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.id for key in read_keys(path)}) == 9


def test_what_a_killed_rotation_left_is_no_hindrance(tmp_path: Path) -> None:
    ring = keyring(tmp_path)
    (tmp_path / "keys.new").write_text("half a li")
    assert rotate(ring.path, MADE) == read_keys(ring.path)[-1]
    assert not (tmp_path / "keys.new").exists()


def test_a_key_noticed_is_on_disk_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = keyring(tmp_path)
    rotate(ring.path, MADE)
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    ring.refresh()
    assert synced == [tmp_path]


def test_a_fault_of_the_disk_of_a_moment_loses_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file does not change again: only a loaded file counts as seen.
    ring = keyring(tmp_path)
    second = rotate(ring.path, MADE)

    def failing(_path: Path) -> tuple[Key, ...]:
        raise InvalidKeys("cannot be read: Input/output error")

    monkeypatch.setattr(keys, "FAILED_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(keys, "read_keys", failing)
        ring.refresh()
        assert ring.newest != second
    ring.refresh()
    assert ring.newest == second


def test_a_spoilt_file_is_not_read_for_each_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = keyring(tmp_path)
    read = []

    def failing(path: Path) -> tuple[Key, ...]:
        read.append(path)
        raise InvalidKeys("nonsense")

    monkeypatch.setattr(keys, "FAILED_SECONDS", 60.0)
    monkeypatch.setattr(keys, "read_keys", failing)
    ring.path.write_text("nonsense\n")
    for _ in range(9):
        ring.refresh()
    assert len(read) == 1
    ring.path.write_text("more nonsense\n")
    ring.refresh()
    assert len(read) == 2


def test_a_file_spoilt_later_leaves_the_keys_in_force(tmp_path: Path) -> None:
    ring = keyring(tmp_path)
    first = ring.newest
    for spoilt in ("", "nonsense\n"):
        ring.path.write_text(spoilt)
        ring.refresh()
        assert ring.newest == first
    ring.path.unlink()
    with pytest.raises(KeyMissing, match="0102030405060708 missing in"):
        ring.get(bytes(range(1, 9)))
    assert ring.get(first.id) == first


def altered(text: str) -> str:
    """The file with another last digit of the last key."""
    digit = text[-2]
    return f"{text[:-2]}{'0' if digit != '0' else '1'}\n"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_text("# none\n"), "no key in it"),
        (lambda path: path.chmod(0o640), "readable by other users"),
        (lambda path: path.write_text(path.read_text()[:-9]), "line 3 is not|do not match"),
        (lambda path: path.write_text(altered(path.read_text())), "name and key do not match"),
        (lambda path: path.write_text("a b\n"), "line 1 is not"),
    ],
    ids=["missing", "empty", "readable", "cut", "altered", "words"],
)
def test_files_that_cannot_be_used(tmp_path: Path, spoil: object, says: str) -> None:
    path = keyring(tmp_path).path
    secret = read_keys(path)[0].secret.hex()
    assert callable(spoil)
    spoil(path)
    with pytest.raises(InvalidKeys, match=says) as caught:
        Keyring(path)
    assert secret[:20] not in str(caught.value)


def test_secrets_are_not_in_representations(tmp_path: Path) -> None:
    key = keyring(tmp_path).newest
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)
