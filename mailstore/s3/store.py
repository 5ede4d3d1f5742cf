"""Message bodies in an S3-compatible store, each under the SHA-256 of its content.

Keys are `<64 hexadecimal digits>/<32 of an upload>` below the bucket's prefix. Promises: a blob is
whole or absent, as every object is. When `seal` returns a name, the store has confirmed its object,
which makes it durable. The blob is not freed within a grace period after that.

Each upload has its own key, so that no object ever changes and no late request can harm a newer
object. A stored blob is referenced while its newest object is young (`FRESH`). Later it is uploaded
again, and its older objects are removed. A blob is freed only if its last upload is older than
`LEAST_GRACE`. So no machine frees a blob that another machine references, without a lock between
them (docs/decisions/0017-bodies-in-an-s3-store.md).
"""

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from uuid import uuid4

from foundation.failpoints import failpoint
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.s3.bucket import Bucket, BucketTimeouts, ObjectInfo
from mailstore.s3.reader import LastingContent, ObjectFile
from mailstore.sealed.blob_format import HEADER, SEGMENT, BlobFormat, BlobHeader, lengths
from mailstore.sealed.blob_reader import open_content
from mailstore.sealed.draft import Draft, DraftMemory
from mailstore.sealed.draft_folder import make_drafts_folder, sweep_drafts

FRESH: Final = timedelta(minutes=30)  # time after an upload in which new messages may reference it
# The difference of the two allows for clock differences and the commit of a message.
LEAST_GRACE: Final = timedelta(hours=2)
_UPLOADS: Final = 16  # parallel uploads of a process
_LARGE_UPLOADS: Final = 2  # parallel uploads from files: each may take 25 MB of memory
_ATTEMPTS: Final = 3  # to find an object that is not being replaced
_PROBE: Final = "probe"
_MARK: Final = "store"  # the key of the name of the store that owns these bodies
_MARK_OCTETS: Final = 100  # more than the longest name
_NOBODY: Final = "0" * 64  # a name that no blob has
_HURRY: Final = BucketTimeouts(connect=3.0, request=5.0, retry=5.0, retries=1)
_KEY = re.compile(r"([0-9a-f]{64})/[0-9a-f]{32}")
_NAME = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


class S3BlobStore:
    """The blobs of a bucket; drafts spill to a local folder, made if its parent exists.

    Thread-safe; each process and machine makes its own object. `clock` gives the time in UTC;
    `room` is the shared memory for drafts, in octets (`mailstore.sealed.draft.DraftMemory`). Raises
    StoreUnavailable if the folder cannot be made.
    """

    def __init__(
        self,
        bucket: Bucket,
        drafts: Path,
        form: BlobFormat,
        clock: Callable[[], datetime],
        room: int = 0,
    ) -> None:
        self.blob_format = form
        self._bucket = bucket
        self._hurried: Bucket | None = None
        self._drafts = drafts
        self._room = DraftMemory(room)
        self._clock = clock
        make_drafts_folder(drafts)
        self._pool = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="blob-upload")
        self._large = threading.BoundedSemaphore(_LARGE_UPLOADS)
        self._closed = False

    def close(self) -> None:
        """Stop the upload threads once they are done, and listings of the bucket."""
        self._closed = True
        self._pool.shutdown()

    def draft(self, name: str = "") -> Draft:
        """Begin a new blob, in memory while it is small; `name`: of a blob to write anew."""
        return Draft(self._drafts, self.blob_format, self._room, name)

    def probe(self) -> None:
        """Check that a draft can be spilled and uploaded now. Raises StoreUnavailable."""
        draft = self.draft()
        draft.write(b"probe")
        draft.spill()
        with self._whole(draft) as data:
            self._bucket.put(_PROBE, data)

    def check_access(self) -> None:
        """Check within seconds, by a request or two, that the bucket answers.

        Raises StoreUnavailable.
        """
        if self._hurried is None:
            self._hurried = Bucket(self._bucket.place, _HURRY)
        next(self._hurried.list(_NOBODY), None)

    def seal(self, drafts: Sequence[Draft], *, anew: bool = False) -> list[str | StoreUnavailable]:
        """Upload a group of drafts in parallel; see `BlobStore.seal`."""
        if self.blob_format.keys is not None:
            self.blob_format.keys.refresh()
        failpoint("blobs.sealing")
        equal: dict[str, list[int]] = {}
        for i, draft in enumerate(drafts):
            equal.setdefault(draft.blob, []).append(i)

        def store(places: list[int]) -> list[str | StoreUnavailable]:
            return self._store([drafts[i] for i in places], anew=anew)

        outcomes: dict[int, str | StoreUnavailable] = {}
        for places, found in zip(
            equal.values(), self._pool.map(store, equal.values()), strict=True
        ):
            outcomes.update(zip(places, found, strict=True))
        failpoint("blobs.placed")
        return [outcomes[i] for i in range(len(drafts))]

    def exists(self, blob: str) -> bool:
        """True if the blob is stored. Raises StoreUnavailable."""
        return bool(self._objects(blob))

    def open(self, blob: str) -> BinaryIO:
        """Open the content of a blob for reading; see `BlobStore.open`."""

        def of(newest: ObjectInfo) -> BinaryIO:
            return open_content(ObjectFile(self._bucket, newest), blob, self.blob_format.keys)

        def opened() -> BinaryIO:
            return self._of_newest(blob, of)

        try:
            return io.BufferedReader(LastingContent(opened(), opened), SEGMENT)
        except (BlobDamaged, KeyMissing) as error:
            raise type(error)(f"cannot read the blob {blob}: {error}") from error

    def header(self, blob: str) -> BlobHeader | None:
        """Header of a blob's object, unverified; None without a header. Errors as `open`."""
        return self._of_newest(blob, self._header)

    def names(self) -> Iterator[str]:
        """The names of all blobs, sorted. Raises StoreUnavailable."""
        return (name for name, _ in self._walk())

    def keys_used(self, limit: int) -> set[bytes]:
        """Key identifiers of up to `limit` blobs, spread over the bucket.

        Raises StoreUnavailable, soon if the bucket does not answer.
        """
        self.check_access()
        starts = [f"{16**4 * i // limit:04x}" for i in range(limit)]
        return {key for key in self._pool.map(self._key_after, starts) if key is not None}

    def unused_since(self, blob: str, time: datetime) -> bool:
        """True if a blob is stored and was not uploaded since a time. Raises StoreUnavailable."""
        found = self._objects(blob)
        return bool(found) and _newest(found).uploaded < time

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a blob unless it was uploaded since a time; return its stored octets, or None.

        No blob younger than LEAST_GRACE is removed. See `BlobStore.free`.
        """
        limit = min(unused_since, self._clock() - LEAST_GRACE)
        found = self._objects(blob)
        if not found or _newest(found).uploaded >= limit:
            return None
        for one in found:
            self._bucket.delete(one.key)
        return sum(one.size for one in found)

    def sweep(self, older_than: datetime) -> int:
        """Remove drafts of dead processes, and objects that were replaced long ago.

        See `BlobStore.sweep`.
        """
        removed = sweep_drafts(self._drafts, older_than)
        for _, found in self._walk():
            settled = [one for one in found if one.uploaded < older_than]
            for one in settled:
                if one is not _newest(settled):
                    self._bucket.delete(one.key)
                    removed += 1
        return removed

    @property
    def place(self) -> str:
        """See `BlobStore.place`."""
        prefix = self._bucket.place.prefix
        return f"{self._bucket.place}, prefix {prefix}" if prefix else str(self._bucket.place)

    def place_mark(self) -> str | None:
        """See `BlobStore.place_mark`."""
        try:
            octets = bytes(self._bucket.read(_MARK, 0, _MARK_OCTETS))
        except NotFound:
            return None
        return octets.decode("ascii", "replace").strip()

    def put_place_mark(self, store: str) -> None:
        """See `BlobStore.put_place_mark`."""
        self._bucket.put(_MARK, f"{store}\n".encode("ascii"))

    def _walk(self, after: str = "") -> Iterator[tuple[str, list[ObjectInfo]]]:
        """Each blob after a key, with its objects, sorted by name."""
        keyed = ((_KEY.fullmatch(found.key), found) for found in self._bucket.list(after=after))
        blobs = ((match[1], found) for match, found in keyed if match is not None)
        for name, group in groupby(blobs, key=lambda one: one[0]):
            if self._closed:
                raise StoreUnavailable("the blob store is closed")
            yield name, [found for _, found in group]

    def _objects(self, blob: str) -> list[ObjectInfo]:
        if not _NAME.fullmatch(blob):
            raise NotFound(f"{blob!r} is not the name of a blob")
        return [found for found in self._bucket.list(blob) if _KEY.fullmatch(found.key)]

    def _of_newest(self, blob: str, use: Callable[[ObjectInfo], _T]) -> _T:
        """Call `use` with the newest object of a blob, which may be replaced. Raises NotFound."""
        for _ in range(_ATTEMPTS):
            found = self._objects(blob)
            if not found:
                break
            with suppress(NotFound):
                return use(_newest(found))
        raise NotFound(f"the blob {blob} is missing from {self._bucket.place}")

    def _header(self, found: ObjectInfo) -> BlobHeader | None:
        octets = min(HEADER, found.size)
        return BlobHeader.parse(bytes(self._bucket.read(found.key, 0, octets)) if octets else b"")

    def _key_after(self, start: str) -> bytes | None:
        for _, found in self._walk(start):
            with suppress(BlobDamaged, NotFound):
                header = self._header(_newest(found))
                return header.key_id if header is not None else None
        return None

    def _store(self, drafts: Sequence[Draft], *, anew: bool) -> list[str | StoreUnavailable]:
        """Store drafts of equal content; a single draft is uploaded."""
        outcomes: list[str | StoreUnavailable] = []
        here = False
        for draft in drafts:
            try:
                if here and not draft.ended:
                    draft.discard()
                else:
                    self._upload(draft, anew=anew)
                    here = True
                outcomes.append(draft.blob)
            except StoreUnavailable as error:
                draft.discard()
                outcomes.append(error)
        return outcomes

    def _upload(self, draft: Draft, *, anew: bool) -> None:
        blob = draft.blob
        before = self._objects(blob) if anew or draft.named_by_content else []
        if not anew and not draft.ended and self._reuse(before, draft.size):
            draft.discard()
            return
        with self._whole(draft) as data:
            self._bucket.put(f"{blob}/{uuid4().hex}", data)
        # The blob is stored; these objects only waste space, and `sweep` removes any that stay.
        with suppress(StoreUnavailable):
            for one in before:
                self._bucket.delete(one.key)

    def _reuse(self, found: list[ObjectInfo], size: int) -> bool:
        """True if the blob need not be uploaded; in doubt, False."""
        if not found or abs(self._clock() - _newest(found).uploaded) > FRESH:
            return False
        newest = _newest(found)
        if newest.size in lengths(size):
            return True
        with suppress(NotFound, StoreUnavailable):
            header = self._header(newest)
            return header is not None and (header.stored, header.size) == (newest.size, size)
        return False

    @contextmanager
    def _whole(self, draft: Draft) -> Iterator[bytes | Path]:
        """The octets of a draft in the form of a blob, or a file of them."""
        if not draft.spilled:
            yield draft.sealed()
            return
        file = self._drafts / f"upload-{uuid4().hex}"
        draft.spill()
        draft.place(file)
        failpoint("blobs.written")
        try:
            with self._large:
                yield file
        finally:
            with suppress(OSError):
                file.unlink()


def _newest(found: list[ObjectInfo]) -> ObjectInfo:
    return max(found, key=lambda one: (one.uploaded, one.key))
