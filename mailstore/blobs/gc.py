"""Upkeep of the blob store, beside a running daemon: free what nobody needs, encrypt anew.

Freeing is safe whatever happens at the same moment. A blob is freed if no message referred to it at
a time after the run began, and it was neither stored nor counted on since `before`, a grace period
ahead of that. Whoever counts on a blob marks it first (`BlobStore.seal`), and commits the
message that names it within the grace: so if the mark is older, the message was there to be seen.
Files are looked at and removed while nobody can mark them (`mailstore.blobs.gc_lock`); an object
that is old enough to be removed is one that nobody counts on any more (`mailstore.s3.store`).
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

# Far longer than any message takes from its body's being stored to its rows' commit.
GRACE: Final = timedelta(hours=24)

_CHUNK = 256 * 1024
_GROUP = 16  # blobs made durable together


@dataclass(frozen=True, slots=True)
class Freed:
    """What was freed: rows of messages, blobs, and their octets on disk."""

    messages: int
    blobs: int
    octets: int


def collect(
    database: Database,
    blobs: BlobStore,
    before: datetime,
    goes_on: Callable[[], bool] = lambda: True,
) -> Freed:
    """Free messages that nothing holds, then blobs without a message, unused since `before`.

    That must be longer ago than any acceptance takes. It ends early once `goes_on()` is false: what
    is left is for the next time. Several may run at once. Raises StoreUnavailable.
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
    return Freed(dropped, count, octets)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How many blobs were written anew, and why some could not be."""

    blobs: int
    problems: tuple[str, ...]


def rewrite(blobs: BlobStore, progress: Callable[[int], None] = lambda _: None) -> Rewritten:
    """Write every blob anew that has not the form, or the key, that new ones have.

    Each is replaced whole and synced, or stays as it was: after a crash, begin again and what is
    done is passed over. `progress` is told how many were done. Raises StoreUnavailable.
    """
    if blobs.form.keys is not None:
        blobs.form.keys.refresh()
    done = 0
    problems: list[str] = []
    for names in grouped(filter(_differs(blobs), blobs.names()), _GROUP):
        drafts = list(_read(blobs, names, problems))
        for outcome in blobs.seal(drafts, anew=True):
            if isinstance(outcome, StoreUnavailable):
                raise outcome
        done += len(drafts)
        progress(done)
    return Rewritten(done, tuple(problems))


def _differs(blobs: BlobStore) -> Callable[[str], bool]:
    key, codec = blobs.form.key, blobs.form.codec
    wanted = (None if key is None else key.id, codec is not None)

    def differs(blob: str) -> bool:
        try:
            header = blobs.header(blob)
        except NotFound:
            return False  # freed meanwhile
        except BlobDamaged:
            return True  # reading it says what is wrong
        return header is None or (header.key_id, header.compressed) != wanted

    return differs


def _read(blobs: BlobStore, names: list[str], problems: list[str]) -> Iterator[Draft]:
    for name in names:
        draft = blobs.draft()
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
