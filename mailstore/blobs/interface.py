"""Interface of a blob store, in files or in an S3 bucket.

A blob is whole or absent under its name (`mailstore.sealed.draft.Draft.blob`). Once `seal` has
returned its name, it is durable, and not freed within the grace period: a message committed within
that time may reference it (`mailstore.blobs.gc`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Protocol

from mailstore.errors import StoreUnavailable
from mailstore.sealed.blob_format import BlobFormat, BlobHeader
from mailstore.sealed.draft import Draft


class BlobStore(Protocol):
    """A store of blobs. All methods may raise StoreUnavailable; calls block."""

    @property
    def blob_format(self) -> BlobFormat:
        """Form of new blobs; blobs of other forms are read too."""

    def draft(self, name: str = "") -> Draft:
        """Begin a new blob, in memory while it is small; `name`: of a blob to write anew."""

    def probe(self) -> None:
        """Check that a blob can be stored now."""

    def check_access(self) -> None:
        """Check that the store answers; cheap, and writes nothing."""

    def seal(self, drafts: Sequence[Draft], *, anew: bool = False) -> list[str | StoreUnavailable]:
        """Make a group of drafts durable in parallel; return their blobs' names in order.

        A failed draft has its error in the result; the other drafts are not affected. All drafts
        have ended at return. Existing blobs are marked as used, or replaced if `anew`.
        """

    def open(self, blob: str) -> BinaryIO:
        """Open the content of a blob for reading, verified while it is read.

        Raises NotFound; the reading also raises BlobDamaged, KeyMissing and StoreUnavailable.
        """

    def header(self, blob: str) -> BlobHeader | None:
        """Header of a blob, unverified; None without a header. Errors as `open`."""

    def exists(self, blob: str) -> bool:
        """True if the blob is stored."""

    def names(self) -> Iterator[str]:
        """The names of all blobs, sorted; blobs stored or freed meanwhile may be missing."""

    def keys_used(self, limit: int) -> set[bytes]:
        """Key identifiers of up to `limit` blobs, for the check at start."""

    def unused_since(self, blob: str, time: datetime) -> bool:
        """True if a blob is stored, and was neither stored nor referenced since a time."""

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a blob unless it was used since a time; return its stored octets, or None.

        The caller knows that no message referred to it at that time.
        """

    def sweep(self, older_than: datetime) -> int:
        """Remove leftovers from before a time, of dead processes and of replacements.

        Returns the number of files or objects.
        """

    @property
    def place(self) -> str:
        """Place of the store, described for an administrator."""

    def place_mark(self) -> str | None:
        """Name of the store whose blobs are in this place, None without a mark."""

    def put_place_mark(self, store: str) -> None:
        """Write the name of the store whose blobs are in this place."""

    def close(self) -> None:
        """Stop the store's threads once they are done."""
