"""The kept revocation lists (DOMAIN §3.2 step 3, §9.62)."""

import errno
import multiprocessing
import os
import shutil
import stat
from datetime import datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from cryptography import x509

from mssante_operator.setup.testbed.ca import Hierarchy
from tests.support.lists.hierarchy import NOW, crl, hierarchy, server
from whitelist.errors import CrlReason, CrlRefused
from whitelist.pki.crl import RevocationList
from whitelist.pki.crl_store import CrlStore

DAY = timedelta(days=1)
ROOT, INTERMEDIATE = hierarchy().root, hierarchy().intermediate
AUTHORITIES = (ROOT.certificate, INTERMEDIATE.certificate)
FIRST = crl(INTERMEDIATE, number=1)
SECOND = crl(INTERMEDIATE, [server("revoked.fr")], number=2, issued=NOW)


def opened(folder: Path) -> CrlStore:
    return CrlStore(folder, AUTHORITIES)


def digests(store: CrlStore) -> set[str]:
    return {kept.digest for kept in store.current()}


def digest(octets: bytes) -> str:
    return RevocationList.read(octets).digest


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.crl")
    return path


def refusal(store: CrlStore, octets: bytes, at: datetime = NOW) -> CrlReason:
    before = store.current()
    with pytest.raises(CrlRefused) as caught:
        store.offer(octets, at)
    assert store.current() == before
    return caught.value.reason


def test_a_store_starts_empty_and_makes_its_folder_when_needed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "crl"
    store = opened(folder)
    assert store.current() == ()
    assert not folder.exists()
    assert not store.poll()
    refusal(store, b"nothing")
    assert not folder.exists()
    store.offer(FIRST, NOW)
    assert stat.S_IMODE(folder.stat().st_mode) & 0o022 == 0


def test_lists_survive_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    kept = store.offer(FIRST, NOW)
    assert kept.crl == RevocationList.read(FIRST)
    assert only_file(tmp_path).name == kept.name
    store.offer(crl(ROOT), NOW)
    again = opened(tmp_path)
    assert digests(again) == digests(store) == {digest(FIRST), digest(crl(ROOT))}
    assert again.problems == ()
    assert len(list(tmp_path.iterdir())) == 2  # no temporary file stays


def test_a_newer_list_replaces_the_older_and_never_the_reverse(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.offer(FIRST, NOW)
    store.offer(SECOND, NOW)
    assert digests(store) == {digest(SECOND)}
    assert only_file(tmp_path).read_bytes() == SECOND
    assert refusal(store, FIRST) is CrlReason.OLDER_THAN_KEPT
    assert refusal(opened(tmp_path), FIRST) is CrlReason.OLDER_THAN_KEPT
    assert only_file(tmp_path).read_bytes() == SECOND


def test_a_list_that_another_process_has_kept_counts_for_age(tmp_path: Path) -> None:
    store, other = opened(tmp_path), opened(tmp_path)
    other.offer(SECOND, NOW)
    with pytest.raises(CrlRefused, match="older-than-kept"):
        store.offer(FIRST, NOW)
    assert digests(store) == {digest(SECOND)}


@pytest.mark.parametrize(
    "bad",
    [
        b"<html>moved</html>",
        SECOND[:-10],
        crl(Hierarchy.create(NOW).intermediate, number=9, issued=NOW),
        crl(INTERMEDIATE, number=9, issued=NOW - 2 * DAY, days=1),
    ],
    ids=["html", "truncated", "forged", "expired"],
)
def test_the_last_unexpired_list_is_kept_whatever_comes(tmp_path: Path, bad: bytes) -> None:
    """DOMAIN §9.62."""
    store = opened(tmp_path)
    store.offer(FIRST, NOW)
    refusal(store, bad)
    assert digests(opened(tmp_path)) == {digest(FIRST)}


def test_an_expired_list_is_kept_since_it_still_says_who_is_revoked(tmp_path: Path) -> None:
    opened(tmp_path).offer(FIRST, NOW)
    (kept,) = opened(tmp_path).current()
    assert not kept.in_date(NOW + 30 * DAY)


def test_damaged_and_foreign_files_are_passed_over_and_named(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.offer(FIRST, NOW)
    store.offer(crl(ROOT), NOW)
    slot = next(path for path in tmp_path.glob("*.crl") if path.read_bytes() == FIRST)
    slot.write_bytes(FIRST[: len(FIRST) // 2])
    (tmp_path / "theirs.crl").write_bytes(crl(Hierarchy.create(NOW).root))
    (tmp_path / "README").write_text("not a list")
    (tmp_path / "folder.crl").mkdir()
    again = opened(tmp_path)
    assert digests(again) == {digest(crl(ROOT))}
    problems = sorted(again.problems)
    assert len(problems) == 3
    for path, reason in ((slot, "unreadable"), (tmp_path / "theirs.crl", "bad-signature")):
        assert any(line.startswith(f"{path}: {reason}: ") for line in problems)
    assert f"{tmp_path / 'folder.crl'}: cannot be read (Is a directory)" in problems
    again.offer(FIRST, NOW)  # the same list again mends the file
    assert slot.read_bytes() == FIRST


def test_memory_bridges_a_damaged_or_missing_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    name = store.offer(SECOND, NOW).name
    store.poll()
    assert store.missing() == frozenset()
    only_file(tmp_path).write_bytes(b"")
    assert not store.poll()
    assert digests(store) == {digest(SECOND)}
    assert ": unreadable: " in store.problems[0]
    assert store.missing() == {name}
    only_file(tmp_path).unlink()
    assert not store.poll()
    assert digests(store) == {digest(SECOND)}
    assert not store.problems
    assert store.missing() == {name}
    assert [crl.digest for crl in store.restore()] == [digest(SECOND)]
    assert store.missing() == frozenset()
    assert digests(opened(tmp_path)) == {digest(SECOND)}
    assert store.restore() == ()


def test_the_folder_decides_where_it_can_be_read(tmp_path: Path) -> None:
    """An older list that a person puts there is used: no process needs a restart."""
    store = opened(tmp_path)
    store.offer(SECOND, NOW)
    only_file(tmp_path).write_bytes(FIRST)
    assert store.poll()
    assert digests(store) == {digest(FIRST)}


def test_a_list_whose_file_was_removed_keeps_no_older_one_out(tmp_path: Path) -> None:
    # Going back on purpose, without a restart: in the writer and in the followers.
    writer, reader = opened(tmp_path), opened(tmp_path)
    writer.offer(SECOND, NOW)
    reader.poll()
    refusal(writer, FIRST)
    shutil.rmtree(tmp_path)
    # No process lacks a list in between.
    assert digests(reader) == digests(writer) == {digest(SECOND)}
    writer.offer(FIRST, NOW)
    assert reader.poll()
    assert digests(reader) == digests(writer) == {digest(FIRST)}


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "I/O error"), None], ids=["error", "short"])
def test_a_fault_of_the_disk_while_reading_loses_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError | None
) -> None:
    # A momentary fault: the file never changes again, and is still read.
    writer, reader = opened(tmp_path), opened(tmp_path)
    writer.offer(FIRST, NOW)
    reader.poll()
    writer.offer(SECOND, NOW)
    read_bytes = Path.read_bytes

    def failing(path: Path) -> bytes:
        if fault is not None:
            raise fault
        return read_bytes(path)[:100]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        assert not reader.poll()
        assert str(only_file(tmp_path)) in reader.problems[0]
        assert digests(reader) == {digest(FIRST)}
    assert reader.poll()
    assert digests(reader) == {digest(SECOND)}
    assert not reader.problems
    assert not reader.poll()


def test_lists_are_kept_by_scope(tmp_path: Path) -> None:
    point = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    extensions = (x509.Extension(point.oid, critical=True, value=point),)
    users = crl(INTERMEDIATE, number=5, extensions=extensions)
    store = opened(tmp_path)
    for octets in (SECOND, users, crl(INTERMEDIATE, number=6, issued=NOW, extensions=extensions)):
        store.offer(octets, NOW)
    assert len(store.current()) == 2
    assert refusal(store, users) is CrlReason.OLDER_THAN_KEPT
    assert refusal(store, FIRST) is CrlReason.OLDER_THAN_KEPT
    assert digests(opened(tmp_path)) == digests(store)


def test_a_delta_list_is_ignored_aloud(tmp_path: Path) -> None:
    indicator = x509.DeltaCRLIndicator(1)
    extensions = (x509.Extension(indicator.oid, critical=True, value=indicator),)
    delta = crl(INTERMEDIATE, number=9, issued=NOW, extensions=extensions)
    store = opened(tmp_path)
    assert refusal(store, delta) is CrlReason.DELTA_OR_PARTIAL
    (tmp_path / "delta.crl").write_bytes(delta)
    store.poll()
    assert store.current() == ()
    assert "a delta list, which is ignored" in store.problems[0]


def test_a_list_that_ran_out_keeps_its_successor_in_no_process_out(tmp_path: Path) -> None:
    writer, reader = opened(tmp_path), opened(tmp_path)
    writer.offer(crl(INTERMEDIATE, number=900, issued=NOW - 2 * DAY, days=1), NOW - 1.5 * DAY)
    reader.poll()
    anew = crl(INTERMEDIATE, number=1)
    assert refusal(writer, anew, NOW - 1.01 * DAY) is CrlReason.NOT_YET_VALID
    writer.offer(anew, NOW)
    assert reader.poll()
    assert digests(reader) == digests(opened(tmp_path)) == {digest(anew)}


def test_what_a_killed_writer_leaves_is_ignored_and_overwritten(tmp_path: Path) -> None:
    opened(tmp_path).offer(FIRST, NOW)
    draft = tmp_path / f".{only_file(tmp_path).name}.tmp"
    draft.write_bytes(SECOND[:100])
    store = opened(tmp_path)
    assert digests(store) == {digest(FIRST)}
    assert store.problems == ()
    store.offer(SECOND, NOW)
    assert digests(opened(tmp_path)) == {digest(SECOND)}
    assert not draft.exists()


def test_a_list_is_synced_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that a power failure requires: content, name, folder."""
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("folder" if path.is_dir() else path.suffix)
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    opened(tmp_path / "new").offer(FIRST, NOW)
    assert steps == ["folder", ".tmp", "rename", "folder"]


def test_a_failing_disk_leaves_what_was_kept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.offer(FIRST, NOW)
    (tmp_path / f".{only_file(tmp_path).name}.tmp").mkdir()  # nothing can be written there
    with pytest.raises(IsADirectoryError):
        store.offer(SECOND, NOW)
    assert digests(store) == digests(opened(tmp_path)) == {digest(FIRST)}


def test_a_list_of_a_clock_that_was_ahead_vetoes_nothing(tmp_path: Path) -> None:
    store, ahead = opened(tmp_path), NOW + 60 * DAY
    store.offer(crl(INTERMEDIATE, number=9, issued=ahead), ahead)
    store.offer(FIRST, NOW)
    assert digests(store) == {digest(FIRST)}
    assert only_file(tmp_path).read_bytes() == FIRST


def test_a_new_key_of_an_authority_has_a_list_of_its_own(tmp_path: Path) -> None:
    renewed = Hierarchy.create(NOW).intermediate
    store = CrlStore(tmp_path, (*AUTHORITIES, renewed.certificate))
    store.offer(FIRST, NOW)
    store.offer(crl(renewed), NOW)
    assert len(store.current()) == 2


def test_others_see_a_change_by_the_stamp(tmp_path: Path) -> None:
    writer, reader = opened(tmp_path), opened(tmp_path)
    before = reader.stamp()
    assert reader.stamp() == before
    writer.offer(FIRST, NOW)
    first = reader.stamp()
    assert first != before
    assert reader.poll()
    assert digests(reader) == {digest(FIRST)}
    assert not reader.poll()
    writer.offer(FIRST, NOW)  # nothing new, nothing written
    assert reader.stamp() == first
    writer.offer(SECOND, NOW)
    assert reader.stamp() != first
    assert reader.poll()
    assert digests(reader) == {digest(SECOND)}


def _read_until(
    folder: Path, ready: Event, done: Event, faults: "multiprocessing.Queue[str]"
) -> None:
    store, last = opened(folder), 0
    ready.set()
    while not done.is_set():
        store.poll()
        for kept in store.current():
            if kept.number is None or kept.number < last:
                faults.put(f"number {kept.number} after {last}")
                return
            last = kept.number
        if store.problems:
            faults.put(store.problems[0])
            return
    store.poll()
    faults.put(f"{store.current()[0].number}")


@pytest.mark.integration
def test_processes_read_whole_lists_while_one_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done, faults = context.Event(), context.Event(), context.Queue()
    lists = [crl(INTERMEDIATE, number=number) for number in range(1, 31)]
    reader = context.Process(target=_read_until, args=(tmp_path, ready, done, faults))
    reader.start()
    try:
        assert ready.wait(10)
        store = opened(tmp_path)
        for octets in lists:
            store.offer(octets, NOW)
        done.set()
        assert faults.get(timeout=10) == "30"
    finally:
        done.set()
        reader.join(10)
    assert reader.exitcode == 0
