"""Full or read-only disk: mail is deferred, and accepted again later without a restart.

The full disk is real: a small file system in memory (root only).  The disk that turns read-only
under a running process is a preloaded library in place of the C library's calls, since a remount is
refused while the database is open.
"""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.peer import ACCEPTED, FULL, LARGE, SMALL, UNWELL, Peer, letter, name
from tests.crash.site import environment
from tests.support.faults import library, missing
from tests.support.machines.daemon import Daemon, client, get, lay_out, served
from tests.support.rules import needs
from tests.support.waiting import until_now

MB = 1_000_000


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of 24 MB on a folder; skip the test if that is not allowed."""
    folder.mkdir(parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(folder)]
    if why := needs.root("a file system of its own"):
        pytest.skip(why)
    if subprocess.run(mounting, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here, even by root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def on_small_disk(folder: Path, floor: int) -> Iterator[Peer]:
    """Running operator whose data folder is a small disk with so many octets free."""
    with small_disk(folder / "data"):
        daemon = lay_out(folder, "a", workers=1)
        set_floor(daemon, floor)
        with served(daemon):
            yield Peer(daemon)
        assert "all bodies are intact" in daemon.run("store", "check")


def set_floor(daemon: Daemon, octets: int) -> None:
    line = 'directory = "data"'
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace(line, f"{line}\nmin_free_bytes = {octets}"))


def fill(path: Path, leave: int) -> None:
    """Write a file until so many octets are free; again if the daemon uses a page meanwhile."""
    with path.open("wb", buffering=0) as file:
        while True:
            free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, free - leave))
                return


def assert_nothing_half(peer: Peer, taken: list[bytes], refused: list[bytes]) -> None:
    found = peer.blobs()
    assert all(found.count(name(body)) == 1 for body in taken)
    assert not set(found) & {name(body) for body in refused}
    assert not any((peer.daemon.folder / "data" / "blobs" / "tmp").iterdir())


def test_above_the_floor_mail_is_put_off_before_the_disk_is_full(tmp_path: Path) -> None:
    with on_small_disk(tmp_path / "a", floor=4 * MB) as peer:
        taken, refused = letter("taken", LARGE), letter("refused", LARGE)
        assert peer.send(taken) == ACCEPTED
        filler = peer.daemon.folder / "data" / "filler"
        fill(filler, leave=3 * MB)
        until_now(lambda: peer.send(letter("small", SMALL)) == FULL)
        assert peer.send(refused) == FULL
        filler.unlink()
        peer.well_again()
        assert_nothing_half(peer, [taken], [refused])


@pytest.mark.parametrize(
    ("leave", "size"),
    [
        pytest.param(200_000, LARGE, id="no room for a body"),
        pytest.param(0, SMALL, id="no room for the database"),
    ],
)
def test_a_disk_that_is_full_keeps_nothing_by_halves(tmp_path: Path, leave: int, size: int) -> None:
    with on_small_disk(tmp_path / "a", floor=0) as peer:
        taken, again = letter("taken", size), letter("again", size)
        assert peer.send(taken) == ACCEPTED
        filler = peer.daemon.folder / "data" / "filler"
        fill(filler, leave)
        kept: list[bytes] = []
        # Mail is still stored while the database's log has room in its file.
        while (answer := peer.send(body := letter(f"full {len(kept)}", size))) == ACCEPTED:
            kept.append(body)
            assert len(kept) < 5_000
        assert answer in {UNWELL, FULL}  # FULL if the free space was measured before the test write
        refused = [body]
        assert_nothing_half(peer, [taken, *kept], refused)
        filler.unlink()
        peer.well_again()
        assert peer.send(again) == ACCEPTED
        assert_nothing_half(peer, [taken, *kept, again], refused)


def test_a_disk_without_a_free_octet_ends_no_process(tmp_path: Path) -> None:
    # Metric files are mapped into memory: a page without disk space would give SIGBUS.
    with on_small_disk(tmp_path / "a", floor=0) as peer:
        daemon, filler = peer.daemon, peer.daemon.folder / "data" / "filler"
        assert peer.send(letter("taken", SMALL)) == ACCEPTED
        while True:  # the daemon may use a page meanwhile
            with suppress(OSError):
                fill(filler, leave=0)
                break
        (worker,) = daemon.processes("worker")
        os.kill(worker, signal.SIGKILL)
        until_now(lambda: daemon.processes("worker") not in ({worker}, set()))
        processes = daemon.processes()
        while peer.send(letter("full", SMALL)) == ACCEPTED:
            pass  # mail is still stored while the database has room in its file
        with client(daemon, "intruder") as smtp:
            smtp.ehlo()
            for _ in range(8):  # refusals add metrics
                smtp.docmd("FLY")
                smtp.mail("dr@b.mssante.fr")
        until_now(lambda: json.loads(get(daemon, "/readyz")[1])["warnings"] != [])
        assert daemon.processes() == processes
        filler.unlink()
        peer.well_again()
        assert peer.send(letter("again", SMALL)) == ACCEPTED
        assert daemon.processes() == processes


def test_a_start_on_a_full_disk_waits_for_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data"):
        daemon = lay_out(tmp_path, "a", workers=1)
        set_floor(daemon, 0)
        filler = daemon.folder / "data" / "filler"
        fill(filler, 0)
        starting = threading.Thread(target=daemon.start, daemon=True)
        starting.start()
        log = daemon.folder / "serve.log"
        until_now(lambda: log.exists() and "data/run: No space left" in log.read_text(), 60)
        filler.unlink()
        starting.join(60)
        until_now(lambda: get(daemon, "/readyz")[0] == 200)
        assert daemon.stop() == 0


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_disk_that_can_only_be_read_takes_nothing(tmp_path: Path) -> None:
    daemon = lay_out(tmp_path / "a", "a", workers=1)
    control, data = tmp_path / "control", daemon.folder / "data"
    preload = str(library("readonly"))
    with environment(LD_PRELOAD=preload, READONLY=str(control), READONLY_UNDER=str(data)):
        daemon.start()
    try:
        peer = Peer(daemon)
        taken, again = letter("taken", LARGE), letter("again", SMALL)
        assert peer.send(taken) == ACCEPTED
        control.touch()
        refused = [letter("small", SMALL), letter("large", LARGE)]
        assert [peer.send(body) for body in refused] == [UNWELL] * 2
        control.unlink()
        peer.well_again()
        assert peer.send(again) == ACCEPTED
        assert_nothing_half(peer, [taken, again], refused)
    finally:
        control.unlink(missing_ok=True)
        daemon.stop()
