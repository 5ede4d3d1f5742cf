"""`store check`: every fault is found, once, and nothing else."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore.blobs.verify import BlobFault, verify_blobs
from mailstore.sealed.blob_format import SEGMENT
from tests.support.storage.blobs import form, overwrite
from tests.support.storage.kept_bodies import BEFORE, Stored


def faults(stored: Stored, seen: list[int] | None = None) -> dict[str, BlobFault]:
    found = list(verify_blobs(stored.database, stored.blobs, BEFORE, (seen or []).append))
    assert len({finding.blob for finding in found}) == len(found)
    return {finding.blob: finding.fault for finding in found}


def test_a_sound_store_has_no_findings(stored: Stored) -> None:
    for i in range(30):
        body = random.Random(i).randbytes(i * 10_000)
        stored.message(stored.put(body), len(body))
    stored.put(b"being accepted at this moment", old=False)
    seen = [0]
    assert faults(stored, seen) == {}
    assert seen[-1] == 31


def test_each_fault_is_found(stored: Stored) -> None:
    def message(body: bytes, size: int | None = None) -> str:
        blob = stored.put(body)
        stored.message(blob, len(body) if size is None else size)
        return blob

    expected = {
        message(b"lost"): BlobFault.MISSING,
        message(bytes(2 * SEGMENT)): BlobFault.DAMAGED,
        message(b"swapped"): BlobFault.DAMAGED,
        message(b"in clear"): BlobFault.DAMAGED,
        message(b"another size", 99): BlobFault.WRONG_SIZE,
        stored.put(b"nobody's"): BlobFault.UNREFERENCED,
        message(b"a folder"): BlobFault.UNREADABLE,
    }
    lost, cut, swapped, clear, _, _, folder = map(stored.blobs.path, expected)
    lost.unlink()
    overwrite(cut, cut.read_bytes()[:70_000])
    overwrite(swapped, stored.blobs.path(message(b"sound")).read_bytes())
    overwrite(clear, b"in fear")
    folder.unlink()
    folder.mkdir()
    assert faults(stored) == expected


def test_a_lost_key_is_told(stored: Stored, tmp_path: Path) -> None:
    blob = stored.put(b"secret")
    stored.message(blob, 6)
    (tmp_path / "keys").unlink()
    other = type(stored.blobs)(stored.blobs.root, form("encrypted", tmp_path))
    found = list(verify_blobs(stored.database, other, BEFORE))
    assert [finding.fault for finding in found] == [BlobFault.NO_KEY]
    other.close()


def test_what_happens_meanwhile_is_no_finding(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = stored.blobs
    # After the references were read: a message arrives, and another goes with its body.
    gone = stored.put(b"gone")
    stored.message(gone, 4, held=False)
    come = stored.put(b"come")
    names = blobs.names

    def meanwhile() -> Iterator[str]:
        monkeypatch.undo()
        stored.message(come, 4)
        stored.collect()
        return names()

    monkeypatch.setattr(blobs, "names", meanwhile)
    assert faults(stored) == {}
    assert not blobs.exists(gone)
