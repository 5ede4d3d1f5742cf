"""Store in a bucket: requests to the server, and failures of the server."""

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.errors import NotFound, StoreUnavailable
from mailstore.s3.bucket import PART, Bucket, BucketPlace
from mailstore.s3.store import FRESH, LEAST_GRACE, S3BlobStore
from mailstore.sealed.blob_format import SEGMENT, BlobFormat
from mailstore.sealed.draft import MEMORY_LIMIT
from tests.support.storage.blobs import content, form
from tests.support.storage.object_server import ObjectServer, object_server_running
from tests.support.storage.stores import HASTE, KeptInBucket, draft, now

DAY = timedelta(days=1)


@pytest.fixture
def kept(object_server: ObjectServer, tmp_path: Path) -> Iterator[KeptInBucket]:
    kept = KeptInBucket(object_server, tmp_path / "drafts", form("encrypted", tmp_path))
    object_server.asked()
    yield kept
    object_server.fail(200, "NONE")
    kept.store.close()


@pytest.fixture
def plain(object_server: ObjectServer, tmp_path: Path) -> Iterator[KeptInBucket]:
    """Without encryption, bodies are named by their content: equal ones share a name."""
    kept = KeptInBucket(object_server, tmp_path / "drafts", BlobFormat())
    object_server.asked()
    yield kept
    kept.store.close()


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def large(seed: int) -> bytes:
    return random.Random(seed).randbytes(2 * PART + 1000)


def put(kept: KeptInBucket, data: bytes) -> str:
    (blob,) = kept.store.seal([draft(kept.store, data)])
    assert blob == name(data)
    return str(blob)


class TestRequests:
    def test_a_small_body_is_one_put_under_a_key_of_its_own(self, kept: KeptInBucket) -> None:
        blob = put(kept, bytes(MEMORY_LIMIT + 1))
        (store,) = kept.server.asked()  # its name is new: no look for an equal body
        assert store[0] == "PUT"
        assert f"/some/folder/{blob}/" in store[1]
        assert store[1].endswith("?")

    def test_a_large_body_goes_in_parts(self, kept: KeptInBucket) -> None:
        body = large(1)
        blob = put(kept, body)
        assert sorted(method for method, _ in kept.server.asked()) == [
            *["POST"] * 2,
            *["PUT"] * 3,
        ]
        assert content(kept.store, blob) == body
        assert kept.server.uploads(kept.bucket.place.bucket) == 0
        assert kept.leftovers() == []

    def test_what_is_here_is_not_sent_again(self, plain: KeptInBucket) -> None:
        put(plain, b"same")
        plain.server.asked()
        put(plain, b"same")
        assert [method for method, _ in plain.server.asked()] == ["GET"]

    def test_reading_asks_for_a_block_at_a_time(self, kept: KeptInBucket) -> None:
        body = large(2)
        blob = put(kept, body)
        kept.server.asked()
        with kept.store.open(blob) as file:
            assert file.read(1000) == body[:1000]
            assert [path.rpartition("?")[2] for _, path in kept.server.asked()[1:]] == [
                "bytes=0-1048575"
            ]
            assert file.read() == body[1000:]
        assert len(kept.server.asked()) == len(body) // 2**20

    def test_objects_are_never_overwritten(self, plain: KeptInBucket) -> None:
        for _ in range(4):
            blob = put(plain, b"same")
            plain.age(blob, DAY)
        puts = [path for method, path in plain.server.asked() if method == "PUT"]
        assert len(set(puts)) == 4
        assert plain.count() == 1

    def test_drafts_on_the_local_disk_are_sealed_too(self, kept: KeptInBucket) -> None:
        one = draft(kept.store, b"secret" * MEMORY_LIMIT)
        (path,) = kept.leftovers()
        assert b"secret" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        one.discard()


class TestFailures:
    @pytest.mark.parametrize(
        ("method", "words", "status"),
        [("PUT", "partNumber=2", 500), ("POST", "uploadId", 403), ("POST", "uploads", 503)],
        ids=["part", "completion", "start"],
    )
    def test_a_failed_upload_in_parts_is_aborted_and_fails_alone(
        self, kept: KeptInBucket, method: str, words: str, status: int
    ) -> None:
        body = large(3)
        kept.server.fail(status, method, words)
        small, failed, other = kept.store.seal(
            [draft(kept.store, data) for data in (b"small", body, b"other")]
        )
        assert (small, other) == (name(b"small"), name(b"other"))
        assert isinstance(failed, StoreUnavailable)
        assert f"{status} TestFault" in str(failed)
        assert kept.server.uploads(kept.bucket.place.bucket) == 0
        assert not kept.store.exists(name(body))
        assert kept.leftovers() == []
        kept.server.fail(200, "NONE")
        assert content(kept.store, put(kept, body)) == body

    def test_a_failed_put_fails_alone(self, kept: KeptInBucket) -> None:
        bodies = [f"body {i}".encode() for i in range(5)]
        kept.server.fail(500, "PUT", name(bodies[2]))
        outcomes = kept.store.seal([draft(kept.store, body) for body in bodies])
        assert isinstance(outcomes.pop(2), StoreUnavailable)
        assert outcomes == [name(body) for body in bodies if body != bodies[2]]
        assert list(kept.store.names()) == sorted(map(str, outcomes))

    def test_a_hiccup_is_tried_again(self, kept: KeptInBucket) -> None:
        kept.server.fail(503, "PUT", times=1)
        assert content(kept.store, put(kept, b"body")) == b"body"

    def test_reasons_name_the_place_and_no_credential(self, kept: KeptInBucket) -> None:
        kept.server.fail(403, "GET")
        with pytest.raises(StoreUnavailable) as refused:
            kept.store.exists(name(b"x"))
        place = kept.bucket.place
        assert str(refused.value) == (
            f"cannot list the bucket {place.bucket} at {place.endpoint}: 403 TestFault"
        )
        assert refused.value.__suppress_context__
        assert "key-" not in repr(place)

    def test_a_bucket_that_is_not_there(self, object_server: ObjectServer, tmp_path: Path) -> None:
        place = object_server.place("none-such")
        store = S3BlobStore(Bucket(place, HASTE), tmp_path / "drafts", BlobFormat(), now)
        looks = [
            lambda: store.exists(name(b"x")),
            lambda: store.open(name(b"x")),
            lambda: list(store.names()),
            store.probe,
        ]
        for look in looks:
            with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
                look()
        (failed,) = store.seal([draft(store, b"x")])
        assert "NoSuchBucket" in str(failed)
        store.close()

    def test_no_credentials_anywhere(
        self, object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in [one for one in os.environ if one.startswith("AWS_")]:
            monkeypatch.delenv(variable)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")  # the machine's own
        place = BucketPlace("some", object_server.endpoint)
        store = S3BlobStore(Bucket(place, HASTE), tmp_path / "drafts", BlobFormat(), now)
        with pytest.raises(StoreUnavailable, match="no credentials are given, nor found"):
            store.probe()
        store.close()

    def test_a_listing_out_of_order_is_not_believed(
        self, kept: KeptInBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wrong order would break the merge with the sorted references, and free needed blobs."""
        put(kept, b"one")
        put(kept, b"two")
        found = [
            {"path": one.key, "size": one.size, "last_modified": one.uploaded}
            for one in kept.objects()
        ]
        monkeypatch.setattr("obstore.list", lambda *_, **__: iter([found[::-1]]))
        with pytest.raises(StoreUnavailable, match="does not list its objects in order"):
            list(kept.store.names())

    @pytest.mark.integration
    def test_a_server_that_is_away_and_comes_back(self, tmp_path: Path) -> None:
        with object_server_running() as server:
            kept = KeptInBucket(server, tmp_path / "drafts", BlobFormat())
            blob = put(kept, b"before")
            server.kill()
            (failed,) = kept.store.seal([draft(kept.store, b"meanwhile")])
            assert isinstance(failed, StoreUnavailable)
            assert "no connection" in str(failed)
            for look in (kept.store.probe, lambda: kept.store.open(blob)):
                with pytest.raises(StoreUnavailable, match="no connection"):
                    look()
            server.start()
            server.make(kept.bucket.place.bucket)
            kept.store.probe()
            assert content(kept.store, put(kept, b"after")) == b"after"
            kept.store.close()

    @pytest.mark.integration
    def test_a_server_that_does_not_answer(self, tmp_path: Path) -> None:
        with object_server_running() as server:
            kept = KeptInBucket(server, tmp_path / "drafts", BlobFormat())
            with server.frozen():
                (failed,) = kept.store.seal([draft(kept.store, b"body")])
            assert isinstance(failed, StoreUnavailable)
            assert "no answer in time" in str(failed)
            assert content(kept.store, put(kept, b"body")) == b"body"
            kept.store.close()


class TestCountingOn:
    """A process that references or uploads a blob never loses it to a process that frees."""

    def test_it_is_counted_on_for_less_long_than_it_is_kept(self) -> None:
        assert FRESH * 2 < LEAST_GRACE

    def test_nothing_young_is_freed_whatever_is_asked(self, plain: KeptInBucket) -> None:
        blob = put(plain, b"body")
        plain.age(blob, LEAST_GRACE - timedelta(minutes=5))
        assert plain.store.free(blob, now() + DAY) is None
        assert put(plain, b"body") == blob

    @pytest.mark.parametrize("age", [-DAY, FRESH + timedelta(minutes=1)], ids=["future", "past"])
    def test_what_is_not_surely_young_is_uploaded_anew(
        self, plain: KeptInBucket, age: timedelta
    ) -> None:
        blob = put(plain, b"body")
        (before,) = plain.objects(blob)
        plain.age(blob, age)
        put(plain, b"body")
        (after,) = plain.objects(blob)
        assert after.key != before.key
        assert abs(now() - after.uploaded) < FRESH

    def test_freed_in_the_middle_of_another_machines_upload(
        self, plain: KeptInBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The upload has seen the old object, which is freed before the new object exists."""
        blob = put(plain, b"body")
        plain.age(blob, DAY)
        store = Bucket.put

        def late(bucket: Bucket, key: str, data: bytes | Path) -> None:
            assert plain.store.free(blob, now() - LEAST_GRACE) is not None
            assert not plain.store.exists(blob)
            store(bucket, key, data)

        monkeypatch.setattr(Bucket, "put", late)
        assert put(plain, b"body") == blob
        assert content(plain.store, blob) == b"body"

    def test_uploaded_in_the_middle_of_another_machines_freeing(
        self, plain: KeptInBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The freeing has judged the old object, and removes it when the new object exists."""
        blob = put(plain, b"body")
        plain.age(blob, DAY)
        delete = Bucket.delete
        freeing = threading.current_thread()

        def late(bucket: Bucket, key: str) -> None:
            if threading.current_thread() is freeing:
                put(plain, b"body")
            delete(bucket, key)

        monkeypatch.setattr(Bucket, "delete", late)
        assert plain.store.free(blob, now() - LEAST_GRACE) is not None
        assert content(plain.store, blob) == b"body"

    def test_two_machines_at_the_same_moment(
        self, plain: KeptInBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither sees the other's object: for a while there are two, then one."""
        both = threading.Barrier(2, timeout=20)
        store = Bucket.put

        def together(bucket: Bucket, key: str, data: bytes | Path) -> None:
            both.wait()
            store(bucket, key, data)

        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "put", together)
            other = threading.Thread(target=put, args=(plain, b"body"))
            other.start()
            blob = put(plain, b"body")
            other.join()
        assert len(plain.objects(blob)) == 2
        assert list(plain.store.names()) == [blob]
        assert plain.store.sweep(now() - DAY) == 0
        plain.age(blob, 2 * DAY)
        assert plain.store.sweep(now() - DAY) == 1
        assert content(plain.store, blob) == b"body"
        assert plain.store.sweep(now() - DAY) == 0

    def test_freeing_takes_all_objects_of_a_blob(self, plain: KeptInBucket) -> None:
        blob = put(plain, b"body")
        raw = plain.raw(blob)
        plain.bucket.put(f"{blob}/{'0' * 32}", raw)
        plain.age(blob, DAY)
        assert plain.store.free(blob, now() - LEAST_GRACE) == 2 * len(raw)
        assert plain.count() == 0


class TestReplacedWhileRead:
    def test_the_reading_goes_on(self, kept: KeptInBucket) -> None:
        body = large(4)
        with kept.store.open(put(kept, body)) as file:
            pieces = [file.read(SEGMENT + 7)]
            kept.store.seal([draft(kept.store, body)], anew=True)
            pieces += iter(lambda: file.read(SEGMENT + 7), b"")
        assert b"".join(pieces) == body

    def test_one_that_is_gone_for_good_is_missing(self, kept: KeptInBucket) -> None:
        body = large(5)
        blob = put(kept, body)
        with kept.store.open(blob) as file:
            file.read(1)
            kept.remove(blob)
            with pytest.raises(NotFound, match=blob):
                file.read()

    def test_what_a_hiccup_kept_back_can_be_read_again(self, kept: KeptInBucket) -> None:
        body = large(6)
        with kept.store.open(put(kept, body)) as file:
            begin = file.read(SEGMENT)
            kept.server.fail(500, "GET")
            with pytest.raises(StoreUnavailable, match="500 TestFault"):
                file.read()
            kept.server.fail(200, "NONE")
        assert body.startswith(begin)
