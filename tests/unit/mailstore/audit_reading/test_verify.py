"""Verification beside writers, and over many pages."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.audit.anchors import make_anchor
from mailstore.audit.event import JOB_ACTOR
from mailstore.audit.keys import add_key
from mailstore.audit.retention import prune
from mailstore.audit.rotation import use_newest_key
from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading import reading, verify_chain
from mailstore.audit_reading.findings import Checked
from mailstore.audit_reading.verify import verify
from mailstore.db.database import Database
from tests.support.audit.trails import append, audit_keys, event
from tests.support.clock import NOW


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(audit_keys(tmp_path))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, verify_chain):
        monkeypatch.setattr(module, "PAGE", 3)


def test_an_empty_trail_is_sound(database: Database, trail: AuditTrail) -> None:
    checked = Checked()
    assert list(verify(database, trail.keys, checked)) == []
    assert (checked.chains, checked.rows, checked.anchors) == (0, 0, 0)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("count", [2, 3, 4, 6, 7])
def test_pages_of_any_filling(database: Database, trail: AuditTrail, count: int) -> None:
    append(database, trail, *[event()] * count)
    checked = Checked()
    assert list(verify(database, trail.keys, checked)) == []
    assert checked.rows == count


@pytest.mark.usefixtures("small_pages")
def test_beside_writers_nothing_is_found(database: Database, trail: AuditTrail) -> None:
    stop, failed = threading.Event(), list[BaseException]()

    def write() -> None:
        try:
            while not stop.is_set():
                append(database, trail, event(), event())
                with database.write() as connection:
                    make_anchor(connection, trail.keys, NOW)
                list(prune(database, trail.keys, NOW + timedelta(1), lambda: NOW, JOB_ACTOR))
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        found = [one for _ in range(5) for one in verify(database, trail.keys, Checked())]
        add_key(trail.keys.path, NOW)
        use_newest_key(database, trail.keys, event("audit.key_changed"))
        found += [one for _ in range(3) for one in verify(database, trail.keys, Checked())]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found == []
    assert failed == []
