"""Verification of all blobs and rows against each other, under a running daemon.

Each blob is read to its end, which verifies encryption, hash and size. Changes during the check are
no findings: a blob without a message counts only beyond the grace period, and missing and
unreferenced blobs are checked again before they are reported.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailstore.blobs.interface import BlobStore
from mailstore.blobs.references import References, compare, referred_now
from mailstore.db.database import Database
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable

_CHUNK = 256 * 1024
_GROUP = 500  # candidates per query of the second check
_STEP = 1000  # blobs between two calls of `progress`


class BlobFault(StrEnum):
    """Fault of a blob."""

    MISSING = "missing"
    DAMAGED = "damaged"
    NO_KEY = "no-key"
    UNREADABLE = "unreadable"
    WRONG_SIZE = "wrong-size"
    UNREFERENCED = "unreferenced"


@dataclass(frozen=True, slots=True)
class BlobFinding:
    """A fault of a blob, with its details."""

    fault: BlobFault
    blob: str
    detail: str


def verify_blobs(
    database: Database,
    blobs: BlobStore,
    before: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[BlobFinding]:
    """Yield all faults; `progress` gets the number of checked blobs, now and then and at the end.

    Blobs without a message count only if unused since `before`. Raises StoreUnavailable.
    """
    doubtful: dict[str, BlobFinding] = {}
    seen = 0
    with References(database) as referred:
        for blob, stored, sizes in compare(blobs.names(), iter(referred)):
            if not stored:
                doubtful[blob] = BlobFinding(BlobFault.MISSING, blob, "a message has lost its body")
            else:
                seen += 1
                if seen % _STEP == 0:
                    progress(seen)
                if not sizes:
                    doubtful[blob] = BlobFinding(
                        BlobFault.UNREFERENCED, blob, "no message needs it"
                    )
                yield from _verify(blobs, blob, sizes)
            if len(doubtful) >= _GROUP:
                yield from _confirmed(database, blobs, before, doubtful)
                doubtful = {}
    yield from _confirmed(database, blobs, before, doubtful)
    progress(seen)


def _verify(blobs: BlobStore, blob: str, sizes: list[int]) -> Iterator[BlobFinding]:
    size = 0
    try:
        with blobs.open(blob) as content:
            while chunk := content.read(_CHUNK):
                size += len(chunk)
    except NotFound:
        return  # freed meanwhile
    except BlobDamaged as error:
        yield BlobFinding(BlobFault.DAMAGED, blob, str(error))
        return
    except KeyMissing as error:
        yield BlobFinding(BlobFault.NO_KEY, blob, str(error))
        return
    except (OSError, StoreUnavailable) as error:
        yield BlobFinding(BlobFault.UNREADABLE, blob, str(error))
        return
    for stated in sizes:
        if stated != size:
            detail = f"it has {size} octets, and a message states {stated}"
            yield BlobFinding(BlobFault.WRONG_SIZE, blob, detail)


def _confirmed(
    database: Database, blobs: BlobStore, before: datetime, doubtful: dict[str, BlobFinding]
) -> Iterator[BlobFinding]:
    referred = referred_now(database, list(doubtful)) if doubtful else set()
    for blob, finding in doubtful.items():
        if finding.fault is BlobFault.MISSING:
            stands = blob in referred and not blobs.exists(blob)
        else:
            stands = blob not in referred and blobs.unused_since(blob, before)
        if stands:
            yield finding
