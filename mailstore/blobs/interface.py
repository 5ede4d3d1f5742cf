"""What a store of blobs promises, wherever it keeps them: in files, or in an S3 bucket.

A blob is whole or absent under the SHA-256 of its content. When `seal` has given its name it is
durable, and it is not freed within a grace period of that; so whoever commits what names it within
that time may count on it (`mailstore.blobs.gc`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Protocol

from mailstore.errors import StoreUnavailable
from mailstore.sealed.blob_format import Form, Header
from mailstore.sealed.draft import Draft


class BlobStore(Protocol):
    """A store of blobs. All of it may raise StoreUnavailable; calls block."""

    @property
    def form(self) -> Form:
        """How new blobs are stored; what is there is read whatever its form."""

    def draft(self) -> Draft:
        """Begin a new blob, in memory as long as it is small."""

    def probe(self) -> None:
        """Find out whether a blob can be stored now."""

    def look(self) -> None:
        """Find out whether the store answers; cheap, and writes nothing."""

    def seal(self, drafts: Sequence[Draft], *, anew: bool = False) -> list[str | StoreUnavailable]:
        """Make a group of drafts durable, side by side, and give their blobs' names in order.

        In place of a draft that failed stands why; its neighbours are not touched by it. All drafts
        have ended by then. Blobs that are there already are counted on, or with `anew` replaced.
        """

    def open(self, blob: str) -> BinaryIO:
        """Open the content of a blob for reading, verified as it is read.

        Raises NotFound, and as its reading does BlobDamaged, KeyMissing and StoreUnavailable.
        """

    def header(self, blob: str) -> Header | None:
        """What a blob says of itself, unverified; as `open` otherwise."""

    def exists(self, blob: str) -> bool:
        """Tell whether a blob is here."""

    def names(self) -> Iterator[str]:
        """The names of all blobs, in order; those that come or go meanwhile may lack."""

    def keys_used(self, limit: int) -> set[bytes]:
        """The names of the keys of so many blobs, for a look at the start."""

    def unused_since(self, blob: str, time: datetime) -> bool:
        """Whether a blob is here and was neither stored nor counted on since a time."""

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a blob unless it was used since; its octets as stored if it was removed.

        The caller knows that at that time nothing was to refer to it.
        """

    def sweep(self, older_than: datetime) -> int:
        """Remove what is left over from before a time: of processes that died, of replacement.

        Returns the number of files or objects.
        """

    @property
    def place(self) -> str:
        """Where it is, in words for an administrator."""

    def place_mark(self) -> str | None:
        """The name of the store whose blobs are in this place, None if it says none."""

    def put_place_mark(self, store: str) -> None:
        """Say whose blobs are in this place."""

    def close(self) -> None:
        """End its threads, once they are done."""
