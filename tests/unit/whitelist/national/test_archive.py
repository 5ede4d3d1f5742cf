"""Archive of adopted lists (DOMAIN §9.12): content, and survival of crashes."""

import fcntl
import os
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.lists.adopter import adopt, numbered
from tests.support.lists.archives import check_whole, digests, put
from tests.support.lists.hierarchy import NOW
from tests.support.lists.lists import made
from whitelist.errors import ArchiveError, ListReason, ListRefused
from whitelist.national.archive import Archive, ListSource

SECOND = timedelta(seconds=1)
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "lists" / "national")


def test_an_empty_archive(archive: Archive) -> None:
    assert archive.records() == ()
    assert archive.problems() == ()
    assert archive.active() is None
    assert archive.last_check() is None
    assert archive.stamp() == (None,) * 4
    assert not archive.folder.exists(), "reading made it"
    for reference in ("active", "previous"):
        with pytest.raises(ArchiveError, match="no list was adopted yet; run mssante"):
            archive.load(reference)


def test_an_adopted_list_is_in_force_and_in_the_history(archive: Archive) -> None:
    data, white_list = numbered(1, 10)
    assert archive.adopt(data, white_list, NOW, ListSource.PUSH, accepted_shrink=True)
    assert archive.active_path == archive.folder / "active.xml"
    assert archive.active_path.read_bytes() == data
    [version] = archive.records()
    assert (version.digest, version.source, version.accepted_shrink) == (
        white_list.digest,
        ListSource.PUSH,
        True,
    )
    assert version.adopted_at == NOW
    assert archive.active() == version
    assert archive.last_check() == NOW
    assert {path.name for path in archive.folder.iterdir()} == {
        "active.xml",
        "checked",
        "history.jsonl",
        "lock",
        version.file_name,
    }
    check_whole(archive)


def test_what_is_kept_is_there_for_other_processes_and_after_a_restart(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    again = Archive(archive.folder)
    assert again.records() == archive.records()
    assert again.last_check() == NOW
    assert again.stamp() == archive.stamp()


def test_the_same_list_again_is_only_a_check(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    before = archive.stamp()
    assert not put(archive, numbered(1, 10), NOW + SECOND)
    assert len(archive.records()) == 1
    assert archive.last_check() == NOW + SECOND
    assert archive.stamp()[0] == before[0], "workers would load it again"
    assert archive.stamp() != before


def test_a_check_without_a_list(archive: Archive) -> None:
    archive.record_check(NOW)
    assert archive.last_check() == NOW
    before = archive.stamp()
    archive.record_check(NOW + SECOND)
    assert archive.last_check() == NOW + SECOND
    assert archive.stamp() != before
    archive.record_check(NOW)
    assert archive.last_check() == NOW, "a clock may be set back"


@pytest.mark.parametrize("content", [b"", b"yesterday", b"\xff", b"2026-11-22T12:00:00"])
def test_a_damaged_note_of_the_check_is_none(archive: Archive, content: bytes) -> None:
    archive.record_check(NOW)
    (archive.folder / "checked").write_bytes(content)
    assert archive.last_check() is None
    archive.record_check(NOW)
    assert archive.last_check() == NOW


def test_lists_of_one_date_may_take_turns(archive: Archive) -> None:
    one, two = (made([(f"{name}.fr", "CN=s,C=FR")], NOW) for name in "ab")
    for made_list in (one, two, one):
        assert put(archive, made_list)
    assert digests(archive) == [one[1].digest, two[1].digest, one[1].digest]
    assert archive.load("active")[1] == one[0]
    assert archive.load("previous")[1] == two[0]
    assert archive.load(one[1].digest)[0] is not None
    check_whole(archive)


def test_another_writer_was_faster_with_a_newer_list(archive: Archive) -> None:
    # DOMAIN §9.6: a decision from before that adoption must not undo it.
    put(archive, numbered(2, 10))
    with pytest.raises(ListRefused) as caught:
        put(archive, numbered(1, 10), NOW + SECOND)
    assert caught.value.reason is ListReason.ROLLBACK
    assert archive.load("active")[1] == numbered(2, 10)[0]
    assert len(archive.records()) == 1
    assert archive.last_check() == NOW


def test_octets_of_another_list_are_a_mistake_of_the_caller(archive: Archive) -> None:
    with pytest.raises(ValueError, match="octets"):
        put(archive, (numbered(1, 10)[0] + b" ", numbered(1, 10)[1]))
    with pytest.raises(ValueError, match="time zone"):
        put(archive, numbered(1, 10), datetime(2026, 1, 1))  # noqa: DTZ001 - what is tested
    with pytest.raises(ValueError, match="time zone"):
        archive.record_check(datetime(2026, 1, 1))  # noqa: DTZ001 - what is tested
    assert archive.active() is None


# References


def test_references(archive: Archive) -> None:
    old = made([("a.fr", "CN=s,C=FR")], datetime(2025, 2, 28, 15, 42, 7, tzinfo=UTC))
    middle = made([("b.fr", "CN=s,C=FR")], datetime(2025, 3, 13, 23, 59, 59, tzinfo=UTC))
    new = made([("c.fr", "CN=s,C=FR")], datetime(2025, 3, 14, tzinfo=UTC))
    for made_list in (old, middle, new):
        put(archive, made_list)
    for reference, (data, white_list) in {
        "active": new,
        "previous": middle,
        old[1].digest: old,
        old[1].digest[:12]: old,
        middle[1].digest[:12].upper(): middle,
        "2025-02-28T15:42:07Z": old,
        "2025-02-28T15:42:07": old,
        "2025-02-28T16:42:07+01:00": old,
        "20250228T154207Z": old,
        "2025-02-28": old,
        "20250228": old,
        "2025-03-13": middle,
        "2025-03-14": new,
        "2025-03-14T00:00:00.000000+00:00": new,
    }.items():
        version, octets = archive.load(reference)
        assert (version.digest, octets) == (white_list.digest, data), reference


@pytest.mark.parametrize(
    "reference", ["", "xyz", "0" * 64, "2024-01-01", "2024-01-01T00:00:00Z", "../active", "Active"]
)
def test_a_reference_to_nothing(archive: Archive, reference: str) -> None:
    put(archive, numbered(1, 10))
    with pytest.raises(ArchiveError, match="means none of the lists kept; mssante whitelist hist"):
        archive.load(reference)


def test_too_short_a_digest_is_no_reference(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    digest = numbered(1, 10)[1].digest
    assert archive.find(digest[:4]).digest == digest
    with pytest.raises(ArchiveError, match="means none"):
        archive.find(digest[:3])


def test_a_reference_to_several(archive: Archive) -> None:
    for number in (1, 2):
        put(archive, numbered(number, 10))
    with pytest.raises(ArchiveError, match=r"means 2 lists: .+; give more digits") as caught:
        archive.load(f"{NOW:%Y-%m-%d}")
    for number in (1, 2):
        assert numbered(number, 10)[1].digest[:12] in str(caught.value)


def test_nothing_was_before_the_first_list(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    with pytest.raises(ArchiveError, match="no list was adopted before the one in force"):
        archive.load("previous")


def test_a_version_that_was_changed_or_lost(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    path = archive.folder / archive.records()[0].file_name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ArchiveError, match=rf"{path.name}: not the list that was adopted"):
        archive.load("active")
    path.unlink()
    with pytest.raises(ArchiveError, match=rf"{path.name}: missing; restore"):
        archive.load("active")


# Damage


def test_a_line_cut_off_is_passed_over_and_reported(archive: Archive) -> None:
    for number in (1, 2):
        put(archive, numbered(number, 10))
    history = archive.folder / "history.jsonl"
    history.write_bytes(history.read_bytes()[:-20])
    assert digests(archive) == [numbered(1, 10)[1].digest]
    [problem] = archive.problems()
    assert problem.startswith(f"{history}, line 2 (cut off, as by a crash): passed over: ")
    put(archive, numbered(3, 10))
    assert digests(archive) == [numbered(number, 10)[1].digest for number in (1, 3)]
    assert len(archive.problems()) == 1, "what was cut off stays for people to see"
    assert "line 2: passed over" in archive.problems()[0]


def test_only_the_line_end_was_cut_off(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    history = archive.folder / "history.jsonl"
    history.write_bytes(history.read_bytes().rstrip())
    put(archive, numbered(2, 10))
    assert check_whole(archive) == [numbered(number, 10)[1].digest for number in (1, 2)]
    assert archive.problems() == ()


def test_a_lost_history_begins_again_with_the_list_in_force(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    (archive.folder / "history.jsonl").unlink()
    assert archive.active() is None
    with pytest.raises(ArchiveError, match="not in the history; run mssante whitelist refresh"):
        archive.load("active")
    before = archive.stamp()
    assert put(archive, numbered(1, 10))
    assert archive.stamp()[0] == before[0]
    assert check_whole(archive) == [numbered(1, 10)[1].digest]


def test_a_folder_that_cannot_be_made_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blocked = Archive(tmp_path / "file" / "lists")
    with pytest.raises(ArchiveError, match=r"cannot be written \(Not a directory\); check"):
        put(blocked, numbered(1, 10))
    odd = Archive(tmp_path)
    odd.active_path.mkdir()
    with pytest.raises(ArchiveError, match=r"active.xml: cannot be read \(Is a directory\)"):
        odd.active()
    with pytest.raises(ArchiveError, match=r"active.xml: cannot be read"):
        put(odd, numbered(1, 10))


# Durability and crashes


def test_everything_is_synced_in_the_order_that_a_power_cut_demands(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archive, numbered(1, 10))
    calls: list[str] = []
    sync, rename = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        sync(descriptor)
        calls.append(f"synced {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def noted_rename(source: Path, target: Path) -> None:
        rename(source, target)
        calls.append(f"renamed to {Path(target).name}")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted_sync)
        patch.setattr(os, "replace", noted_rename)
        put(archive, numbered(2, 10))
    version = archive.records()[-1].file_name
    assert calls == [
        *(f"synced .{version}.tmp", f"renamed to {version}", "synced national"),
        *("synced history.jsonl", "synced national"),
        *("synced .active.xml.tmp", "renamed to active.xml", "synced national"),
        *("synced .checked.tmp", "renamed to checked", "synced national"),
    ]


def child(*arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    """Start `tests.support.lists.adopter` in the checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.lists.adopter", *arguments],
        cwd=Path(__file__).parents[4],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.crash
def test_killed_at_each_line_of_the_code(tmp_path: Path) -> None:
    old, new = (numbered(number, 100) for number in (1, 2))
    with child("each-line", str(tmp_path)) as process:
        printed = process.communicate()[0]
    assert process.returncode == 0
    lines = int(printed)
    outcomes = set()
    for line in range(1, lines + 1):
        archive = Archive(tmp_path / str(line))
        recorded = check_whole(archive)
        assert archive.problems() == ()
        active = archive.active_path.read_bytes()
        assert active in (old[0], new[0])
        outcomes.add((active == new[0], len(recorded), archive.last_check()))
        # The next refresh repairs all, without recording the list twice.
        put(archive, new, NOW + 2 * SECOND)
        assert check_whole(archive) == [old[1].digest, new[1].digest]
        assert archive.active_path.read_bytes() == new[0]
        assert archive.last_check() == NOW + 2 * SECOND
    # The kills did fall before, between and after the steps.
    assert outcomes == {
        (False, 1, NOW + SECOND),
        (False, 2, NOW + SECOND),
        (True, 2, NOW + SECOND),
        (True, 2, NOW + 2 * SECOND),
    }


@pytest.mark.crash
def test_killed_at_any_moment(tmp_path: Path) -> None:
    archive, randomness, reached = Archive(tmp_path), random.Random("kill"), 0
    for _ in range(ROUNDS):
        with child("for-ever", str(tmp_path), str(reached + 1)) as process:
            assert process.stdout is not None
            for _ in range(randomness.randrange(1, 6)):
                reached = int(process.stdout.readline())
            time.sleep(randomness.uniform(0, 0.02))  # the kill may fall at any moment
            process.kill()
            for line in process.stdout:
                reached = int(line)
        # The last confirmed list is in force, or the list being adopted.
        active = archive.active_path.read_bytes()
        assert active in (numbered(reached)[0], numbered(reached + 1)[0])
        recorded = check_whole(archive)
        assert recorded[:reached] == [numbered(n)[1].digest for n in range(1, reached + 1)]
        assert recorded[reached:] in ([], [numbered(reached + 1)[1].digest])
        assert archive.last_check() in (NOW + reached * SECOND, NOW + (reached + 1) * SECOND)
        reached = len(recorded) if active == numbered(len(recorded))[0] else reached


@pytest.mark.integration
def test_two_processes_at_once(tmp_path: Path) -> None:
    with (
        child("race", str(tmp_path), "1", stdin=subprocess.PIPE) as odd,
        child("race", str(tmp_path), "2", stdin=subprocess.PIPE) as even,
    ):
        for process in (odd, even):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (odd, even):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        refused = sum(int(process.communicate()[0]) for process in (odd, even))
    archive = Archive(tmp_path)
    recorded = check_whole(archive)
    assert archive.problems() == ()
    assert len(recorded) == 40 - refused == len(set(recorded))
    generated = [version.generated_at for version in archive.records()]
    assert generated == sorted(generated), "an older list undid a newer one"
    assert archive.active_path.read_bytes() == numbered(40, 1000)[0]


def test_a_second_writer_waits_for_the_first(archive: Archive) -> None:
    put(archive, numbered(1, 10))
    writer = threading.Thread(target=adopt, args=(archive, 2, 10))
    with (archive.folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert len(archive.records()) == 1
        assert archive.load("active")[1] == numbered(1, 10)[0], "readers do not wait"
    writer.join()
    assert archive.load("active")[1] == numbered(2, 10)[0]
