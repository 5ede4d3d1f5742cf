"""Blob store: durable, whole or absent, independent failures (docs/durability.md)."""

import hashlib
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailstore.blobs.file_store import FileBlobStore
from mailstore.errors import NotFound, StoreUnavailable
from mailstore.sealed.blob_format import HEADER
from mailstore.sealed.draft import MEMORY_LIMIT, Draft
from tests.support.storage.blobs import FORMS, content, drafted, form, overwrite, visible

CHECKOUT = Path(__file__).parents[4]
WRITER = (sys.executable, "-m", "tests.support.storage.blob_writer")

PLAIN = [one for one in FORMS if not one.startswith("encrypted")]  # names tell the content


@pytest.fixture(params=FORMS)
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs", form(request.param, tmp_path))
    yield store
    store.close()


def draft(store: FileBlobStore, data: bytes) -> Draft:
    return drafted(store, data)


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_group_is_stored_under_its_hashes_in_order(store: FileBlobStore) -> None:
    chance = random.Random(0)
    bodies = [chance.randbytes(i * 30_000) for i in range(20)]
    names = store.seal([draft(store, body) for body in bodies])
    assert names == [name(body) for body in bodies]
    for body in bodies:
        with store.open(name(body)) as file:
            assert file.read() == body
        assert store.exists(name(body))
        assert store.path(name(body)) == store.root / name(body)[:2] / name(body)
    assert list((store.root / "tmp").iterdir()) == []


def test_an_empty_group(store: FileBlobStore) -> None:
    assert store.seal([]) == []


def test_only_the_owner_can_look(store: FileBlobStore) -> None:
    store.seal([draft(store, b"secret"), draft(store, b"x" * (MEMORY_LIMIT + 1))])
    for path in [store.root, *store.root.rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o400
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@pytest.mark.parametrize("store", PLAIN, indirect=True)
def test_equal_bodies_are_stored_once(store: FileBlobStore) -> None:
    [first] = store.seal([draft(store, b"same")])
    before = store.path(str(first)).stat()
    large = [draft(store, b"y" * (MEMORY_LIMIT + 1)) for _ in range(3)]
    names = store.seal([draft(store, b"same"), draft(store, b"same"), *large])
    assert names == [first, first, *[name(b"y" * (MEMORY_LIMIT + 1))] * 3]
    assert len(visible(store.root)) == 2
    assert store.path(str(first)).stat().st_ino == before.st_ino
    assert list((store.root / "tmp").iterdir()) == []


def test_a_damaged_blob_is_replaced_when_its_body_comes_again(store: FileBlobStore) -> None:
    [blob] = store.seal([draft(store, b"whole")])
    overwrite(store.path(str(blob)), b"who")
    assert store.seal([draft(store, b"whole")]) == [blob]
    assert content(store, blob) == b"whole"


def test_a_blob_that_cannot_be_looked_at_is_written_anew(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    [blob] = store.seal([draft(store, b"body")])
    before = store.path(str(blob)).stat().st_ino

    def refused(_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)  # as for a file that root has restored
    assert store.seal([draft(store, b"body")]) == [blob]
    assert store.path(str(blob)).stat().st_ino != before
    assert content(store, blob) == b"body"


def opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


class Syscalls:
    """Records the calls that matter for durability, and makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Path]] = []
        for call in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, call, self._by_descriptor(call, getattr(os, call)))
        rename = os.replace

        def replace(source: Path, target: Path) -> None:
            rename(source, target)
            self.calls += [("renamed from", source), ("renamed to", target)]

        monkeypatch.setattr(os, "replace", replace)

    def _by_descriptor(self, call: str, real: Callable[[int], None]) -> Callable[[int], None]:
        def noted(descriptor: int) -> None:
            real(descriptor)
            self.calls.append((call, opened(descriptor)))

        return noted

    def place(self, call: str, path: Path) -> int:
        """Position of the last such call."""
        return max(i for i, made in enumerate(self.calls) if made == (call, path))


@pytest.mark.parametrize("again", [False, True])
def test_data_is_synced_before_it_is_named_and_names_before_they_are_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    root = tmp_path / "blobs"
    bodies = [b"small", b"x" * (MEMORY_LIMIT + 1)]
    if again:
        # Another process made the blobs, and was killed before it synced their directories.
        other = FileBlobStore(root)
        other.seal([draft(other, body) for body in bodies])
        other.close()
        for path in visible(root):
            path.chmod(0o600)
    syscalls = Syscalls(monkeypatch)
    store = FileBlobStore(root)
    assert ("fsync", tmp_path) in syscalls.calls
    names = store.seal([draft(store, body) for body in bodies])
    store.close()
    for target in map(store.path, map(str, names)):
        named = syscalls.place("renamed to", target)
        source = syscalls.calls[named - 1][1]
        assert syscalls.place("fdatasync", source) < named - 1
        assert named < syscalls.place("fsync", target.parent)
        assert syscalls.place("fsync", root) < named  # the directories were there before


@pytest.mark.parametrize("store", PLAIN, indirect=True)
def test_what_was_vouched_for_costs_no_sync(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.seal([draft(store, b"one")])
    other = FileBlobStore(store.root, store.blob_format)
    syscalls = Syscalls(monkeypatch)
    for one in (store, other):
        one.seal([draft(one, b"one"), draft(one, b"one")])
    assert syscalls.calls == []
    other.close()


def test_one_failing_draft_leaves_its_neighbours_alone(store: FileBlobStore) -> None:
    bodies = [f"body {i}".encode() for i in range(5)]
    fanouts = [name(body)[:2] for body in bodies]
    assert len(set(fanouts)) == 5
    (store.root / fanouts[2]).rmdir()
    (store.root / fanouts[2]).write_text("in the way")
    drafts = [draft(store, body) for body in bodies]
    drafts[3].discard()
    outcomes = store.seal(drafts)
    assert isinstance(outcomes[2], StoreUnavailable)
    assert "Not a directory" in str(outcomes[2])
    assert isinstance(outcomes[3], StoreUnavailable)
    assert "was discarded" in str(outcomes[3])
    for i in (0, 1, 4):
        assert outcomes[i] == name(bodies[i])
        assert content(store, name(bodies[i])) == bodies[i]
    assert list((store.root / "tmp").iterdir()) == []


def test_a_directory_that_was_removed_is_made_again_at_the_next_attempt(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    [blob] = store.seal([draft(store, b"body")])
    path = store.path(str(blob))
    path.unlink()
    path.parent.rmdir()
    syscalls = Syscalls(monkeypatch)
    [failed] = store.seal([draft(store, b"body")])
    assert isinstance(failed, StoreUnavailable)
    assert syscalls.place("fsync", store.root) >= 0
    assert store.seal([draft(store, b"body")]) == [blob]


def failing_once(monkeypatch: pytest.MonkeyPatch, culprit: Path) -> None:
    """Let the next sync of a directory fail; later syncs report success, as on Linux."""
    real, failed = os.fsync, list[bool]()

    def fsync(descriptor: int) -> None:
        if opened(descriptor) == culprit and not failed:
            failed.append(True)
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_no_process_counts_on_what_another_could_not_sync(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.seal([draft(store, b"old")])
    path = store.path(name(b"new"))
    assert path.parent.name != name(b"old")[:2]
    failing_once(monkeypatch, path.parent)
    old, new = store.seal([draft(store, b"old"), draft(store, b"new")])
    assert old == name(b"old")
    assert isinstance(new, StoreUnavailable)
    assert "Input/output error" in str(new)
    # The name exists, but may be lost in a power cut, whatever a second sync reports.
    inode = path.stat().st_ino
    other = FileBlobStore(store.root, store.blob_format)
    syscalls = Syscalls(monkeypatch)
    assert other.seal([draft(other, b"new")]) == [name(b"new")]
    assert path.stat().st_ino != inode
    assert syscalls.place("renamed to", path) < syscalls.place("fsync", path.parent)
    other.close()


def test_folders_that_may_not_be_on_disk_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "blobs"
    failing_once(monkeypatch, root)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        FileBlobStore(root)
    assert [path.name for path in root.iterdir()] == ["tmp"]
    FileBlobStore(root).close()
    assert len(list(root.iterdir())) == 257


@pytest.mark.integration
def test_a_file_that_cannot_grow_fails_alone(tmp_path: Path) -> None:
    """The kernel refuses to write past RLIMIT_FSIZE as it does on a full disk, half-way."""
    limit = 100_000
    done = subprocess.run(
        [*WRITER, tmp_path / "blobs", "0", str(limit)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    small, large, other = done.stdout.splitlines()
    limit -= HEADER
    assert small == f"str {name(b'x' * limit)}"
    assert large == "StoreUnavailable cannot write to the blob store: File too large"
    assert other == f"str {name(b'x' * (limit - 1))}"
    assert {path.name for path in visible(tmp_path / "blobs")} == {small[4:], other[4:]}
    assert list((tmp_path / "blobs/tmp").iterdir()) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.crash
def test_kill_9_leaves_whole_blobs_and_all_that_were_promised(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "blobs"
    with subprocess.Popen(
        [*WRITER, root, str(seed)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        # The child is killed during a later group, at a random moment.
        number = random.Random(seed).randint(1, 60)
        promised = [child.stdout.readline().strip() for _ in range(number)]
        child.kill()
        promised += [line.strip() for line in child.stdout if line.endswith("\n")]
    store = FileBlobStore(root, form("encrypted", tmp_path))
    for blob in store.names():
        assert content(store, blob)  # whole, or its reading fails
    assert [blob for blob in promised if not store.exists(blob)] == []
    # A new process cleans up after it.
    store.sweep(datetime(9999, 1, 1, tzinfo=UTC))
    assert list((root / "tmp").iterdir()) == []
    store.close()


def test_sweep_removes_old_temporary_files_alone(store: FileBlobStore) -> None:
    [blob] = store.seal([draft(store, b"kept")])
    living = draft(store, b"x" * (MEMORY_LIMIT + 1))
    [new] = (store.root / "tmp").iterdir()
    old = store.root / "tmp" / "draft-old"
    old.write_bytes(b"half a mess")
    os.utime(old, (1_000_000, 1_000_000))
    os.utime(store.path(str(blob)), (1_000_000, 1_000_000))
    assert store.sweep(datetime.fromtimestamp(1_000_000, UTC)) == 0
    assert store.sweep(datetime.fromtimestamp(1_000_001, UTC)) == 1
    assert list((store.root / "tmp").iterdir()) == [new]
    assert store.exists(str(blob))
    living.discard()


def test_what_is_missing(store: FileBlobStore) -> None:
    absent = "0" * 64
    assert not store.exists(absent)
    with pytest.raises(NotFound, match=f"{absent} is missing"):
        store.open(absent)


@pytest.mark.parametrize("blob", ["", "../../etc/passwd", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_names_that_are_no_blobs(store: FileBlobStore, blob: str) -> None:
    for look in (store.path, store.exists, store.open):
        with pytest.raises(NotFound, match="not the name of a blob"):
            look(blob)


def test_what_cannot_be_read_is_unavailability(store: FileBlobStore) -> None:
    blob = "0" * 64
    store.path(blob).mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match="Is a directory"):
        store.open(blob)


def test_a_store_whose_parent_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot make the blob store .*/none/blobs"):
        FileBlobStore(tmp_path / "none" / "blobs")
