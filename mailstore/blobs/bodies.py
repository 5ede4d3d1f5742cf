"""All bodies of messages: small bodies in the database, larger bodies in a blob store.

A body is small if it has at most `limit` octets; bodies stored under another limit are found all
the same. `prepare` makes larger bodies durable. Small bodies become durable in the transaction of
their message: `keep` inserts them there.
"""

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import BinaryIO, Final

from sqlalchemy import Connection

from mailstore.blobs import db_store
from mailstore.blobs.interface import BlobStore
from mailstore.db.database import Database
from mailstore.errors import BlobDamaged, NotFound, StoreUnavailable
from mailstore.sealed.blob_format import SEGMENT, BlobFormat, BlobHeader
from mailstore.sealed.draft import Draft

SMALL: Final = SEGMENT  # default limit of small bodies, in octets


@dataclass(frozen=True, slots=True)
class PreparedBody:
    """Name of a body; its sealed octets if it must still go into the database."""

    blob: str
    sealed: bytes | None = None


class Bodies:
    """Bodies of a mailstore; a `BlobStore` for callers that need not know their place.

    `clock` gives aware instants: the time of last use of small bodies.
    """

    def __init__(
        self,
        blobs: BlobStore,
        database: Database,
        clock: Callable[[], datetime],
        limit: int = SMALL,
    ) -> None:
        self.blobs = blobs
        self._clock = clock
        self._database = database
        self._limit = limit
        self._small = db_store.DbBlobStore(database, blobs.blob_format.keys)

    @property
    def blob_format(self) -> BlobFormat:
        """Form of new bodies, in both places."""
        return self.blobs.blob_format

    @property
    def place(self) -> str:
        """Place of the blob store, described for an administrator."""
        return self.blobs.place

    def place_mark(self) -> str | None:
        """See `BlobStore.place_mark`."""
        return self.blobs.place_mark()

    def put_place_mark(self, store: str) -> None:
        """See `BlobStore.put_place_mark`."""
        self.blobs.put_place_mark(store)

    def close(self) -> None:
        """Close the blob store; the caller closes the database."""
        self.blobs.close()

    def draft(self, name: str = "") -> Draft:
        """Begin a new body, in memory while it is small; `name`: of a body to write anew."""
        return self.blobs.draft(name)

    def probe(self) -> None:
        """Check that the blob store can be written to now. Raises StoreUnavailable."""
        self.blobs.probe()

    def check_access(self) -> None:
        """Check that the blob store answers; writes nothing. Raises StoreUnavailable."""
        self.blobs.check_access()

    def sweep(self, older_than: datetime) -> int:
        """Remove leftovers of dead processes from before a time; return their number."""
        return self.blobs.sweep(older_than)

    def prepare(
        self, drafts: Sequence[Draft], *, anew: bool = False
    ) -> list[PreparedBody | StoreUnavailable]:
        """Make larger bodies durable and seal small bodies; all drafts have ended at return.

        A failed draft has its error in the result; the other drafts are not affected.
        """
        if self.blob_format.keys is not None:
            self.blob_format.keys.refresh()
        large = [draft for draft in drafts if draft.spilled or draft.size > self._limit]
        names = iter(self.blobs.seal(large, anew=anew) if large else ())
        apart = set(map(id, large))
        return [_named(next(names)) if id(draft) in apart else _sealed(draft) for draft in drafts]

    def keep(
        self,
        conn: Connection,
        prepared: Sequence[PreparedBody],
        *,
        now: datetime,
        anew: bool = False,
    ) -> None:
        """Insert the small bodies in a transaction, whose commit makes them durable."""
        rows = [(one.blob, one.sealed) for one in prepared if one.sealed is not None]
        if rows:
            db_store.insert_bodies(conn, rows, now=now, anew=anew)

    def seal(self, drafts: Sequence[Draft], *, anew: bool = False) -> list[str | StoreUnavailable]:
        """Make a group of drafts durable without a message; see `BlobStore.seal`."""
        found = self.prepare(drafts, anew=anew)
        prepared = [one for one in found if isinstance(one, PreparedBody)]
        try:
            with self._database.write() as conn:
                self.keep(conn, prepared, now=self._clock(), anew=anew)
        except StoreUnavailable as error:
            return [_failed(one, error) for one in found]
        return [one.blob if isinstance(one, PreparedBody) else one for one in found]

    def open(self, blob: str, size: int = 0) -> BinaryIO:
        """Open the content of a body for reading, verified while it is read.

        The place that fits `size` is searched first. Raises NotFound; the reading also raises
        BlobDamaged, KeyMissing and StoreUnavailable.
        """
        first, second = self._small.open, self.blobs.open
        if size > self._limit:
            first, second = second, first
        with suppress(NotFound):
            return first(blob)
        try:
            return second(blob)
        except NotFound as error:
            raise NotFound(f"the body {blob} is in no place where bodies are: {error}") from error

    def sealed(self, blobs: Collection[str]) -> dict[str, bytes]:
        """Return the sealed octets of the small bodies among `blobs`, by a single query."""
        return self._small.sealed(blobs)

    def unseal(self, blob: str, sealed: bytes) -> BinaryIO:
        """Open the content of a small body from `sealed`; as `open`, but without I/O."""
        return self._small.unseal(blob, sealed)

    def content(self, blob: str, sealed: bytes) -> bytes:
        """The whole content of a small body from `sealed`; errors as `unseal` and its reading."""
        return self._small.content(blob, sealed)

    def header(self, blob: str) -> BlobHeader | None:
        """Header of a body's stored form, unverified; None without a header. Errors as `open`."""
        with suppress(NotFound):
            return self._small.header(blob)
        return self.blobs.header(blob)

    def exists(self, blob: str) -> bool:
        """True if the body is stored."""
        return self._small.exists(blob) or self.blobs.exists(blob)

    def names(self) -> Iterator[str]:
        """The names of all bodies, sorted; bodies stored or freed meanwhile may be missing."""
        merged = heapq.merge(self._small.names(), self.blobs.names())
        return (name for name, _ in groupby(merged))

    def keys_used(self, limit: int) -> set[bytes]:
        """Key identifiers of up to `limit` bodies of each kind, for the check at start."""
        found = self.blobs.keys_used(limit)
        for name in self._small.sample(limit):
            with suppress(BlobDamaged, NotFound):
                header = self._small.header(name)
                if header is not None and header.key_id is not None:
                    found.add(header.key_id)
        return found

    def unused_since(self, blob: str, time: datetime) -> bool:
        """True if a body is stored, and was neither stored nor referenced since a time."""
        return self._small.unused_since(blob, time) or self.blobs.unused_since(blob, time)

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a body from each place where it was not used since; return the octets, or None."""
        freed = [self._small.free(blob, unused_since), self.blobs.free(blob, unused_since)]
        octets = [one for one in freed if one is not None]
        return sum(octets) if octets else None


def _named(outcome: str | StoreUnavailable) -> PreparedBody | StoreUnavailable:
    return PreparedBody(outcome) if isinstance(outcome, str) else outcome


def _sealed(draft: Draft) -> PreparedBody | StoreUnavailable:
    blob = draft.blob
    try:
        return PreparedBody(blob, draft.sealed())
    except StoreUnavailable as error:
        return error


def _failed(
    one: PreparedBody | StoreUnavailable, error: StoreUnavailable
) -> str | StoreUnavailable:
    """Outcome of a body after the transaction of the small bodies failed."""
    if isinstance(one, StoreUnavailable):
        return one
    return one.blob if one.sealed is None else error
