"""Maintenance of the blob store under a running daemon: garbage collection and rewriting.

Collection is safe at any time. A blob is freed if, at a time after the run began, no message
referred to it, and if it was neither stored nor referenced since `before`, a grace period earlier.
A process that references a blob marks it first (`BlobStore.seal`) and commits its message within
the grace period: so with an older mark, that message was already visible. Files are checked and
removed under a lock that excludes marking (`mailstore.blobs.gc_lock`). An object in a bucket is
removed only at an age at which no process references it any more (`mailstore.s3.store`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mailstore.blobs.interface import BlobStore
from mailstore.blobs.references import References, compare, drop_unneeded, grouped
from mailstore.db.database import Database
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.sealed.draft import Draft

# Far longer than the time from the storing of a body to the commit of its message.
GRACE: Final = timedelta(hours=24)

_CHUNK = 256 * 1024
_GROUP = 16  # blobs made durable together


@dataclass(frozen=True, slots=True)
class GcResult:
    """Number of freed messages (rows) and blobs, and their octets on disk."""

    messages: int
    blobs: int
    octets: int


def collect_garbage(
    database: Database,
    blobs: BlobStore,
    before: datetime,
    goes_on: Callable[[], bool] = lambda: True,
) -> GcResult:
    """Free messages that nothing holds, then blobs without a message, unused since `before`.

    `before` must be longer ago than any acceptance takes. The run ends early when `goes_on()` is
    false; the next run does the rest. Several runs may be active at once. Raises StoreUnavailable.
    """
    dropped = drop_unneeded(database, before)
    count = octets = 0
    with References(database) as referred:
        for blob, _, sizes in compare(blobs.names(), iter(referred)):
            if not goes_on():
                break
            freed = None if sizes else blobs.free(blob, before)
            if freed is not None:
                count, octets = count + 1, octets + freed
    return GcResult(dropped, count, octets)


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """Number of rewritten blobs, and errors of the others."""

    blobs: int
    problems: tuple[str, ...]


def rewrite_blobs(
    blobs: BlobStore, progress: Callable[[int], None] = lambda _: None
) -> RewriteResult:
    """Rewrite each blob whose form or key differs from new blobs.

    Each blob is replaced whole and synced, or stays as it was. After a crash, start again: finished
    blobs are skipped. `progress` gets the number done. Raises StoreUnavailable.
    """
    if blobs.blob_format.keys is not None:
        blobs.blob_format.keys.refresh()
    done = 0
    problems: list[str] = []
    for names in grouped(filter(_differs(blobs), blobs.names()), _GROUP):
        drafts = list(_read(blobs, names, problems))
        for outcome in blobs.seal(drafts, anew=True):
            if isinstance(outcome, StoreUnavailable):
                raise outcome
        done += len(drafts)
        progress(done)
    return RewriteResult(done, tuple(problems))


def _differs(blobs: BlobStore) -> Callable[[str], bool]:
    key, codec = blobs.blob_format.key, blobs.blob_format.codec
    wanted = (None if key is None else key.id, codec is not None)

    def differs(blob: str) -> bool:
        try:
            header = blobs.header(blob)
        except NotFound:
            return False  # freed meanwhile
        except BlobDamaged:
            return True  # its reading reports the damage
        return header is None or (header.key_id, header.compressed) != wanted

    return differs


def _read(blobs: BlobStore, names: list[str], problems: list[str]) -> Iterator[Draft]:
    for name in names:
        draft = blobs.draft(name)
        try:
            with blobs.open(name) as content:
                while chunk := content.read(_CHUNK):
                    draft.write(chunk)
        except NotFound:
            draft.discard()
            continue
        except (BlobDamaged, KeyMissing) as error:
            draft.discard()
            problems.append(str(error))
            continue
        except BaseException:
            draft.discard()
            raise
        yield draft
