"""Both blob stores for tests: stored objects can be read, altered, aged and removed."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.interface import BlobStore
from mailstore.s3.bucket import Bucket, BucketTimeouts, ObjectInfo
from mailstore.s3.store import S3BlobStore
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.draft import Draft
from tests.support.storage.blobs import drafted, form, overwrite, visible
from tests.support.storage.object_server import ObjectServer

HASTE = BucketTimeouts(connect=2.0, request=2.0, retry=1.0, retries=1)


def now() -> datetime:
    """Current time; store and test use the same clock."""
    return datetime.now(UTC)


def draft(store: BlobStore, data: bytes) -> Draft:
    """Draft with these octets."""
    return drafted(store, data)


class Kept(Protocol):
    """Store, with direct access to its objects."""

    store: BlobStore

    def again(self, form: BlobFormat) -> BlobStore:
        """The same store, opened again as by another process; the caller closes it."""

    def raw(self, blob: str) -> bytes:
        """Stored octets of a blob."""

    def replace(self, blob: str, data: bytes) -> None:
        """Replace the stored octets of a blob."""

    def remove(self, blob: str) -> None:
        """Remove a blob."""

    def age(self, blob: str, by: timedelta) -> None:
        """Make a blob older: time of storage and of last reference."""

    def count(self) -> int:
        """Number of files or objects."""

    def leftovers(self) -> list[Path]:
        """Temporary files of drafts."""


class KeptInFiles:
    """Files below a folder."""

    def __init__(self, root: Path, form: BlobFormat) -> None:
        self.files = FileBlobStore(root, form)
        self.store: BlobStore = self.files

    def again(self, form: BlobFormat) -> BlobStore:
        return FileBlobStore(self.files.root, form)

    def raw(self, blob: str) -> bytes:
        return self.files.path(blob).read_bytes()

    def replace(self, blob: str, data: bytes) -> None:
        overwrite(self.files.path(blob), data)

    def remove(self, blob: str) -> None:
        self.files.path(blob).unlink()

    def age(self, blob: str, by: timedelta) -> None:
        time = self.files.path(blob).stat().st_mtime - by.total_seconds()
        os.utime(self.files.path(blob), (time, time))

    def count(self) -> int:
        return len(visible(self.files.root))

    def leftovers(self) -> list[Path]:
        return list((self.files.root / "tmp").iterdir())


class KeptInBucket:
    """Objects in a bucket of this store."""

    def __init__(self, server: ObjectServer, folder: Path, form: BlobFormat) -> None:
        self.server = server
        self.bucket = Bucket(server.place(prefix="some/folder"), HASTE)
        self._folder = folder
        self.store: BlobStore = self.again(form)

    def again(self, form: BlobFormat) -> BlobStore:
        return S3BlobStore(self.bucket, self._folder, form, now)

    def objects(self, blob: str = "") -> list[ObjectInfo]:
        """Objects of a blob, or of all blobs."""
        return [found for found in self.bucket.list(blob) if "/" in found.key]

    def raw(self, blob: str) -> bytes:
        (found,) = self.objects(blob)
        return bytes(self.bucket.read(found.key, 0, found.size))

    def replace(self, blob: str, data: bytes) -> None:
        (found,) = self.objects(blob)
        self.bucket.put(found.key, data)

    def remove(self, blob: str) -> None:
        (found,) = self.objects(blob)
        self.bucket.delete(found.key)

    def age(self, blob: str, by: timedelta) -> None:
        self.server.age(by, blob)

    def count(self) -> int:
        return len(self.objects())

    def leftovers(self) -> list[Path]:
        return list(self._folder.iterdir())


def kept_in(kind: str, request: pytest.FixtureRequest, folder: Path, name: str) -> Iterator[Kept]:
    """Store of a kind, `files` or `bucket`, with a form of blobs."""
    made: Kept
    if kind == "files":
        made = KeptInFiles(folder / "blobs", form(name, folder))
    else:
        server = request.getfixturevalue("object_server")
        made = KeptInBucket(server, folder / "drafts", form(name, folder))
    yield made
    made.store.close()
