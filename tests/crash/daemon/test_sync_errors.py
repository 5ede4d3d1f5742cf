"""EIO on fsync: the message counts as not stored, and a second fsync is not believed.

A preloaded library lets the calls fail like Linux: once, and afterwards they return success
although the pages are lost.  Daemon and peers are real.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.peer import ACCEPTED, LARGE, SMALL, UNWELL, Peer, letter, name
from tests.crash.site import Site, environment, site
from tests.support.faults import library, missing
from tests.support.waiting import until_now

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


class Faulty:
    """Running operator whose syncs fail as set by `fail`."""

    def __init__(self, here: Site, control: Path) -> None:
        self.peer, self.control = Peer(here.daemon), control
        self.blobs = here.daemon.folder / "data" / "blobs"

    def fail(self, rule: str) -> None:
        """Set the failures from now on; see tests/support/faults/fail.c."""
        self.control.write_text(rule)

    @property
    def failed(self) -> list[str]:
        """Failed syncs, as call and path."""
        log = Path(f"{self.control}.log")
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    folder = tmp_path_factory.mktemp("faulty")
    control = folder / "control"
    with site(folder / "a", "faulty", workers=1) as here:
        with environment(LD_PRELOAD=str(library("fail")), FAULTS=str(control)):
            here.start()
        yield Faulty(here, control)
        here.daemon.kill()
        assert "all bodies are intact" in here.daemon.run("store", "check")


@pytest.fixture
def faulty(running: Faulty) -> Iterator[Faulty]:
    yield running
    running.control.unlink(missing_ok=True)
    Path(f"{running.control}.log").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        pytest.param("fdatasync */blobs/tmp/* once lose", LARGE, id="a body"),
        pytest.param("fsync */blobs/?? once keep", LARGE, id="its folder"),
        pytest.param("any *.db-wal once keep", SMALL, id="the log"),
        pytest.param("any *.db-wal once keep", LARGE, id="the log after a body"),
    ],
)
def test_what_could_not_be_synced_was_not_stored(faulty: Faulty, rule: str, size: int) -> None:
    # docs/durability.md: no 250 before it is durable.
    body = letter(f"{rule} {size}", size)
    faulty.fail(rule)
    assert faulty.peer.send(body) == UNWELL
    assert len(faulty.failed) == 1
    assert name(body) not in faulty.peer.blobs()
    # The daemon tests the disk at times, with a file there.
    until_now(lambda: not any((faulty.blobs / "tmp").iterdir()))
    faulty.peer.well_again()
    assert faulty.peer.send(body) == ACCEPTED
    assert faulty.peer.blobs().count(name(body)) == 1


@pytest.mark.parametrize("rule", ["any */blobs* always lose", "any *.db-wal always keep"])
def test_as_long_as_syncs_fail_no_mail_is_taken(faulty: Faulty, rule: str) -> None:
    before, after, *during = (letter(f"{rule} {number}", LARGE) for number in range(5))
    assert faulty.peer.send(before) == ACCEPTED
    faulty.fail(rule)
    for body in during:
        assert faulty.peer.send(body) == UNWELL
    faulty.control.unlink()
    faulty.peer.well_again()
    assert faulty.peer.send(after) == ACCEPTED
    found = set(faulty.peer.blobs())
    assert {name(before), name(after)} <= found
    assert not found & set(map(name, during))
