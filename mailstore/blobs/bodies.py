"""All bodies of messages: small ones in the database, larger ones in a blob store.

A body is small if it has no more octets than the limit; where the limit was another one when it
came, it is found all the same.  What is small becomes durable in the transaction of its message:
`prepare` makes the others durable before, and `keep` puts the small ones into that transaction.
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
from mailstore.sealed.blob_format import SEGMENT, Form, Header
from mailstore.sealed.draft import Draft

SMALL: Final = SEGMENT  # octets up to which a body is small, unless told otherwise


@dataclass(frozen=True, slots=True)
class Prepared:
    """A body's name; and its sealed octets, if they are still to be kept in the database."""

    blob: str
    sealed: bytes | None = None


class Bodies:
    """Bodies of one mailstore; a `BlobStore` to those who need not know where they are.

    `clock` gives aware instants: when a small body was last used.
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
        self._small = db_store.SmallBodies(database, blobs.form.keys)

    @property
    def form(self) -> Form:
        """How new bodies are stored, here and there."""
        return self.blobs.form

    @property
    def place(self) -> str:
        """Where the blob store is, in words for an administrator."""
        return self.blobs.place

    def place_mark(self) -> str | None:
        """As `BlobStore.place_mark`."""
        return self.blobs.place_mark()

    def put_place_mark(self, store: str) -> None:
        """As `BlobStore.put_place_mark`."""
        self.blobs.put_place_mark(store)

    def close(self) -> None:
        """Close the blob store; the database is its opener's."""
        self.blobs.close()

    def draft(self) -> Draft:
        """Begin a new body, in memory as long as it is small."""
        return self.blobs.draft()

    def probe(self) -> None:
        """Find out whether the blob store can be written to now. Raises StoreUnavailable."""
        self.blobs.probe()

    def look(self) -> None:
        """Find out whether the blob store answers; writes nothing. Raises StoreUnavailable."""
        self.blobs.look()

    def sweep(self, older_than: datetime) -> int:
        """Remove what processes that died have left half-way, before a time; how many."""
        return self.blobs.sweep(older_than)

    def prepare(
        self, drafts: Sequence[Draft], *, anew: bool = False
    ) -> list[Prepared | StoreUnavailable]:
        """Make larger bodies durable and seal small ones; all drafts have ended by then.

        In place of a draft that failed stands why; its neighbours are not touched by it.
        """
        if self.form.keys is not None:
            self.form.keys.refresh()
        large = [draft for draft in drafts if draft.spilled or draft.size > self._limit]
        names = iter(self.blobs.seal(large, anew=anew) if large else ())
        apart = set(map(id, large))
        return [_named(next(names)) if id(draft) in apart else _sealed(draft) for draft in drafts]

    def keep(
        self, conn: Connection, prepared: Sequence[Prepared], *, now: datetime, anew: bool = False
    ) -> None:
        """Put what is small into a transaction, which makes it durable."""
        rows = [(one.blob, one.sealed) for one in prepared if one.sealed is not None]
        if rows:
            db_store.keep(conn, rows, now=now, anew=anew)

    def seal(self, drafts: Sequence[Draft], *, anew: bool = False) -> list[str | StoreUnavailable]:
        """Make a group of drafts durable without a message, as `BlobStore.seal`."""
        found = self.prepare(drafts, anew=anew)
        prepared = [one for one in found if isinstance(one, Prepared)]
        try:
            with self._database.write() as conn:
                self.keep(conn, prepared, now=self._clock(), anew=anew)
        except StoreUnavailable as error:
            return [_failed(one, error) for one in found]
        return [one.blob if isinstance(one, Prepared) else one for one in found]

    def open(self, blob: str, size: int = 0) -> BinaryIO:
        """Open the content of a body for reading, verified as it is read.

        It is looked for first where one of so many octets would be kept now.  Raises NotFound, and
        as its reading does BlobDamaged, KeyMissing and StoreUnavailable.
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
        """Those that are small, as they are kept, by one query; to be opened by `unseal`."""
        return self._small.sealed(blobs)

    def unseal(self, blob: str, sealed: bytes) -> BinaryIO:
        """The content of a small body that was fetched; as `open`, but never waits for anything."""
        return self._small.unseal(blob, sealed)

    def header(self, blob: str) -> Header | None:
        """What a body's stored form says of itself, unverified; as `open` otherwise."""
        with suppress(NotFound):
            return self._small.header(blob)
        return self.blobs.header(blob)

    def exists(self, blob: str) -> bool:
        """Tell whether a body is here."""
        return self._small.exists(blob) or self.blobs.exists(blob)

    def names(self) -> Iterator[str]:
        """The names of all bodies, in order; those that come or go meanwhile may lack."""
        merged = heapq.merge(self._small.names(), self.blobs.names())
        return (name for name, _ in groupby(merged))

    def keys_used(self, limit: int) -> set[bytes]:
        """The names of the keys of so many bodies of each kind, for a look at the start."""
        found = self.blobs.keys_used(limit)
        for name in self._small.sample(limit):
            with suppress(BlobDamaged, NotFound):
                header = self._small.header(name)
                if header is not None and header.key_id is not None:
                    found.add(header.key_id)
        return found

    def unused_since(self, blob: str, time: datetime) -> bool:
        """Whether a body is here and was neither stored nor counted on since a time."""
        return self._small.unused_since(blob, time) or self.blobs.unused_since(blob, time)

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a body wherever it was not used since; its octets if it was removed."""
        freed = [self._small.free(blob, unused_since), self.blobs.free(blob, unused_since)]
        octets = [one for one in freed if one is not None]
        return sum(octets) if octets else None


def _named(outcome: str | StoreUnavailable) -> Prepared | StoreUnavailable:
    return Prepared(outcome) if isinstance(outcome, str) else outcome


def _sealed(draft: Draft) -> Prepared | StoreUnavailable:
    blob = draft.blob
    try:
        return Prepared(blob, draft.sealed())
    except StoreUnavailable as error:
        return error


def _failed(one: Prepared | StoreUnavailable, error: StoreUnavailable) -> str | StoreUnavailable:
    """What became of a body when the small ones were lost by an error."""
    if isinstance(one, StoreUnavailable):
        return one
    return one.blob if one.sealed is None else error
