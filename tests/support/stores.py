"""Both stores of blobs as tests look at them: what lies there is read, altered, aged, removed."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.interface import BlobStore
from mailstore.s3.bucket import Bucket, Found, Patience
from mailstore.s3.store import ObjectBlobStore
from mailstore.sealed.blob_format import Form
from mailstore.sealed.draft import Draft
from tests.support.blobs import form, overwrite, visible
from tests.support.object_server import ObjectServer

HASTE = Patience(connect=2.0, request=2.0, retry=1.0, retries=1)


def now() -> datetime:
    """The time, which both ends take from the same clock."""
    return datetime.now(UTC)


def draft(store: BlobStore, data: bytes) -> Draft:
    """A draft of these octets."""
    made = store.draft()
    made.write(data)
    return made


class Kept(Protocol):
    """A store, and what it keeps, seen from below."""

    store: BlobStore

    def again(self, form: Form) -> BlobStore:
        """The same store as another machine or process has it; its opener closes it."""

    def raw(self, blob: str) -> bytes:
        """What is stored for a blob."""

    def replace(self, blob: str, data: bytes) -> None:
        """Store something else for it."""

    def remove(self, blob: str) -> None:
        """Lose it."""

    def age(self, blob: str, by: timedelta) -> None:
        """Let it have been stored, and last counted on, earlier."""

    def count(self) -> int:
        """How many files or objects there are."""

    def leftovers(self) -> list[Path]:
        """The temporary files of drafts."""


class KeptInFiles:
    """Files below a folder."""

    def __init__(self, root: Path, form: Form) -> None:
        self.files = FileBlobStore(root, form)
        self.store: BlobStore = self.files

    def again(self, form: Form) -> BlobStore:
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
    """Objects in a bucket of their own."""

    def __init__(self, server: ObjectServer, folder: Path, form: Form) -> None:
        self.server = server
        self.bucket = Bucket(server.place(prefix="some/folder"), HASTE)
        self._folder = folder
        self.store: BlobStore = self.again(form)

    def again(self, form: Form) -> BlobStore:
        return ObjectBlobStore(self.bucket, self._folder, form, now)

    def objects(self, blob: str = "") -> list[Found]:
        """The objects of a blob, or of all of them."""
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
    """A store of a kind, `files` or `bucket`, whose blobs have a form."""
    made: Kept
    if kind == "files":
        made = KeptInFiles(folder / "blobs", form(name, folder))
    else:
        server = request.getfixturevalue("object_server")
        made = KeptInBucket(server, folder / "drafts", form(name, folder))
    yield made
    made.store.close()
