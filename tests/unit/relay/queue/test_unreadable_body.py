"""Unreadable body: held with the reason if it is missing or damaged, else deferred."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from mailstore.blobs.bodies import Bodies
from mailstore.blobs.store import Store
from mailstore.db.schema import bodies
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.draft import Draft
from mailstore.sealed.keyring import Keyring, make_first
from mssante_operator.jobs.body_restoring import BodyRestoreJob
from mssante_operator.jobs.queue_measurement import QueueMeasurement
from relay.operator_labels import OperatorLabels
from relay.queue.schema import deliveries
from relay.queue.unreadable_body import judged, reason_in
from relay.queue_admin.actions import HoldAction, run_action
from relay.queue_admin.filter import DeliveryFilter
from tests.support.clock import system_clock
from tests.support.delivery.senders import BODY, TRACE, Sender, sending
from tests.support.machines.operators import ACTIVE, inbound
from tests.support.storage.blobs import MADE, folder, overwrite
from tests.support.storage.object_server import ObjectServer
from tests.support.storage.stores import KeptInBucket
from tests.support.waiting import until

LARGE = BODY + b"".join(b"%d %s\r\n" % (n, b".x" * 30) for n in range(12_000))
Undo = Callable[[], None]


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with sending(tmp_path / "b") as made:
        yield made


@pytest.fixture
def peer_folder(tmp_path: Path) -> Path:
    made = tmp_path / "peer"
    made.mkdir()
    return made


def file_of(sender: Sender, body: bytes) -> Path:
    name = hashlib.sha256(body).hexdigest()
    assert isinstance(sender.store.blobs, Bodies)
    return folder(sender.store.blobs) / name[:2] / name


def put_row(sender: Sender, sealed: bytes) -> None:
    with sender.store.database.write() as connection:
        connection.execute(update(bodies).values(sealed=sealed))


def row_of(sender: Sender) -> bytes:
    with sender.store.database.read() as connection:
        return bytes(connection.execute(select(bodies.c.sealed)).scalar_one())


def lose_the_row(sender: Sender) -> Undo:
    with sender.store.database.read() as connection:
        row = connection.execute(select(bodies)).one()._asdict()
    with sender.store.database.write() as connection:
        connection.execute(delete(bodies))

    def put_back() -> None:
        with sender.store.database.write() as connection:
            connection.execute(bodies.insert().values(row))

    return put_back


def damage_the_row(sender: Sender) -> Undo:
    before = row_of(sender)
    put_row(sender, before[:-1] + bytes([before[-1] ^ 1]))
    return lambda: put_row(sender, before)


def seal_with_a_key_elsewhere(sender: Sender) -> Undo:
    before = row_of(sender)
    make_first(sender.folder / "elsewhere", MADE)
    draft = Draft(sender.folder, BlobFormat(Keyring(sender.folder / "elsewhere")))
    draft.write(BODY)
    put_row(sender, draft.sealed())
    return lambda: put_row(sender, before)


def lose_the_file(sender: Sender) -> Undo:
    file = file_of(sender, LARGE)
    aside = file.rename(sender.folder / "aside")

    def put_back() -> None:
        aside.rename(file)

    return put_back


def damage_the_file(sender: Sender) -> Undo:
    file = file_of(sender, LARGE)
    before = file.read_bytes()
    overwrite(file, before[:400_000] + b"?" + before[400_001:])
    return lambda: overwrite(file, before)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("lose", "body", "says"),
    [
        (lose_the_row, BODY, "body missing: the body "),
        (damage_the_row, BODY, "body damaged: "),
        (seal_with_a_key_elsewhere, BODY, "key of the body missing: the key "),
        (lose_the_file, LARGE, "body missing: the body "),
        (damage_the_file, LARGE, "body damaged: cannot read the blob "),
    ],
)
async def test_it_is_held_until_its_body_is_back(
    sender: Sender, peer_folder: Path, lose: Callable[[Sender], Undo], body: bytes, says: str
) -> None:
    async with inbound(peer_folder) as peer:
        key = sender.queue(ACTIVE, body=body)
        put_back = lose(sender)
        await sender.deliver(peer.port)
        (row,) = sender.queued()
        assert (row.state, row.attempts) == ("held", 1)
        assert row.held is not None
        assert row.held == row.last_error
        assert row.held.startswith(says)
        (attempt,) = sender.attempts()
        assert (attempt["reason"], attempt["state"]) == (reason_in(row.held), "waiting")
        assert peer.entries(ACTIVE) == []
        held = [one for one in events(sender) if one["event"] == "delivery.held"]
        assert [(one["message"], one["why"]) for one in held] == [(key, row.held)]

        labels = OperatorLabels(sender.folder / "operators", lambda _domain: ())
        queue_measurement = QueueMeasurement(
            sender.store.database, labels, system_clock, interval=0.01
        )
        restoring = BodyRestoreJob(sender.store, sender.journal, queue_measurement)
        assert restoring.round() == 0
        put_back()
        assert restoring.round() == 1
        assert sender.queued()[0].state == "waiting"
        await sender.deliver(peer.port, attempts=2)
        assert sender.queued() == []
        (entry,) = peer.entries(ACTIVE)
        assert peer.body(entry) == TRACE + body
        assert events(sender)[-2]["event"] == "queue.released"


def events(sender: Sender) -> list[dict[str, str]]:
    sender.attempts()  # writes the journal before it is read
    files = sorted((sender.folder / "trace").rglob("*.jsonl"))
    lines = [line for path in files for line in path.read_text().splitlines() if line]
    return [json.loads(line) for line in lines]


async def test_a_disk_that_was_taken_away_holds_nothing(sender: Sender, peer_folder: Path) -> None:
    async with inbound(peer_folder) as peer:
        sender.queue(ACTIVE, body=LARGE)
        disk = file_of(sender, LARGE).parents[1]
        away = disk.rename(sender.folder / "away")
        await sender.deliver(peer.port)
        (row,) = sender.queued()
        assert (row.state, sender.attempts()[0]["reason"]) == ("waiting", "store")
        assert "is its disk mounted?" in row.last_error
        away.rename(disk)
        sender.retry()
        await sender.deliver(peer.port, attempts=2)
        assert len(peer.entries(ACTIVE)) == 1


@pytest.mark.parametrize("status", [0, 403, 500, 503, 404])
async def test_only_an_object_that_is_gone_from_a_bucket_holds(
    sender: Sender, peer_folder: Path, object_server: ObjectServer, status: int
) -> None:
    kept = KeptInBucket(object_server, sender.folder / "drafts", BlobFormat())
    before = sender.store
    sender.store = Store(Bodies(kept.store, before.database, system_clock), before.database)
    try:
        async with inbound(peer_folder) as peer:
            sender.queue(ACTIVE, body=LARGE)
            blob = hashlib.sha256(LARGE).hexdigest()
            stored = kept.raw(blob)
            if status:
                object_server.fail(status, "GET", kept.bucket.place.bucket)
            else:
                kept.remove(blob)
            await sender.deliver(peer.port)
            object_server.fail(200, "NONE")
            (row,) = sender.queued()
            (attempt,) = sender.attempts()
            assert peer.entries(ACTIVE) == []
            if status:
                assert (row.state, attempt["reason"]) == ("waiting", "store")
                sender.retry()
            else:
                assert (row.state, attempt["reason"]) == ("held", "body-missing")
                kept.bucket.put(f"{blob}/{random.Random(0).randbytes(16).hex()}", stored)
                labels = OperatorLabels(sender.folder / "operators", lambda _domain: ())
                queue_measurement = QueueMeasurement(before.database, labels, system_clock)
                assert BodyRestoreJob(sender.store, sender.journal, queue_measurement).round() == 1
            await sender.deliver(peer.port, attempts=2)
            (entry,) = peer.entries(ACTIVE)
            assert peer.body(entry) == TRACE + LARGE
    finally:
        kept.store.close()
        sender.store = before


def test_what_a_person_holds_while_its_body_is_read_stays_held(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.queue(ACTIVE, body=LARGE)
    is_readable = BodyRestoreJob._is_readable

    def overtaken(self: BodyRestoreJob, blob: str, size: int) -> bool:
        hold = HoldAction("to the wrong patient")
        (done,) = run_action(sender.store.database, hold, DeliveryFilter(), system_clock)
        assert len(done.changed) == 1
        return is_readable(self, blob, size)

    with sender.store.database.write() as connection:
        connection.execute(
            update(deliveries).values(held="body missing: it was gone", unreadable=True)
        )
    monkeypatch.setattr(BodyRestoreJob, "_is_readable", overtaken)
    labels = OperatorLabels(sender.folder / "operators", lambda _domain: ())
    queue_measurement = QueueMeasurement(sender.store.database, labels, system_clock)
    assert BodyRestoreJob(sender.store, sender.journal, queue_measurement).round() == 0
    assert sender.queued()[0].held == "to the wrong patient"


async def test_mail_is_let_go_by_the_daemon_itself(sender: Sender) -> None:
    sender.queue(ACTIVE, body=LARGE)
    with sender.store.database.write() as connection:
        connection.execute(
            update(deliveries).values(held="body missing: it was gone", unreadable=True)
        )
    labels = OperatorLabels(sender.folder / "operators", lambda _domain: ())
    queue_measurement = QueueMeasurement(sender.store.database, labels, system_clock, interval=0.01)
    restoring = BodyRestoreJob(sender.store, sender.journal, queue_measurement, interval=0.01)
    tasks = [asyncio.create_task(one()) for one in (queue_measurement.run, restoring.run)]
    await until(lambda: sender.queued()[0].state == "waiting")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotFound("x"), "body-missing"),
        (BlobDamaged("x"), "body-damaged"),
        (KeyMissing("x"), "body-key-missing"),
        (StoreUnavailable("x"), "store"),
        (OSError("x"), "store"),
    ],
)
def test_what_is_gone_is_told_from_what_is_away(error: Exception, reason: str) -> None:
    text, found = judged(error)
    assert found == reason
    assert reason_in(text) == (None if reason == "store" else reason)
