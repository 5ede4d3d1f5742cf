"""Making files and their names durable, and never trusting what failed to be.

Linux reports that octets could not be written once for each open descriptor; the next sync of the
same file says success, though the octets may be gone.  So a sync that failed is never done again
as if that could mend it: the draft is given up, and a blob whose directory could not be synced is
never vouched for (`mailstore.blobs.file_store`).

A group of new files is synced as one (`foundation.fsync`).  A file begun before its group may have
lost octets in the meantime, which is reported to its own descriptor alone: it is synced by that,
whatever else is.
"""

import errno
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from foundation.fsync import AVAILABLE, sync_directory, sync_filesystem
from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import Draft

_TOGETHER: Final = 3  # files from which on syncing the whole file system is cheaper than one by one
_THREADS: Final = 8  # files and directories that one process syncs side by side
_NO_SUCH_CALL: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})


class Syncer:
    """Syncs what is below the folder `root`.  Shared freely between threads.  Raises OSError."""

    def __init__(self, root: Path) -> None:
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="blob-sync")
        self._as_one = AVAILABLE
        self._lock = threading.Lock()
        self.failures = 0

    def close(self) -> None:
        """End the threads, once they are done."""
        self._pool.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def contents(
        self, fresh: Sequence[Draft], begun: Sequence[Draft], since: int
    ) -> StoreUnavailable | None:
        """Sync drafts that have been written out; those that could not be are discarded.

        `begun` are those that were in their files before; `since` is what `failures` said then.
        Returns why none of them may be trusted, if none may.
        """
        alone = [*begun, *fresh]
        if len(fresh) >= _TOGETHER and self._as_one:
            failure = self._everything(since)
            if failure is not None:
                return failure
            if self._as_one:
                alone = list(begun)
        # Only the waiting for the disk is spread over threads: the rest is quick, and threads that
        # contend for the interpreter would slow it down.
        list(self._pool.map(_sync_draft, alone))
        return None

    def names(self, fanouts: set[Path], since: int) -> dict[Path, StoreUnavailable]:
        """Sync directories in which blobs have been named; why those that could not be, by path."""
        if len(fanouts) >= _TOGETHER and self._as_one:
            failure = self._everything(since)
            if self._as_one:
                return {} if failure is None else dict.fromkeys(fanouts, failure)
        directories = list(fanouts)
        outcomes = zip(directories, self._pool.map(_sync_folder, directories), strict=True)
        return {path: failure for path, failure in outcomes if failure is not None}

    def _everything(self, since: int) -> StoreUnavailable | None:
        """Sync the whole file system; why nothing written since may be trusted, if it may not."""
        try:
            sync_filesystem(self._descriptor)
        except OSError as error:
            if error.errno in _NO_SUCH_CALL:
                self._as_one = False
                return None
            self._count_failure()
            return failure("cannot sync the blob store", error)
        # The kernel told of a failure once: perhaps to another thread, and it was about our files.
        if self.failures != since:
            return StoreUnavailable("cannot sync the blob store: it failed a moment ago")
        return None

    def _count_failure(self) -> None:
        with self._lock:
            self.failures += 1


def _sync_draft(draft: Draft) -> None:
    with suppress(StoreUnavailable):  # it has ended by that, and says why itself
        draft.sync()


def _sync_folder(path: Path) -> StoreUnavailable | None:
    try:
        sync_directory(path)
    except OSError as error:
        return failure(f"cannot sync {path}", error)
    return None


def failure(what: str, error: OSError) -> StoreUnavailable:
    """The error to raise, or to give a draft, where a call of the file system failed."""
    unavailable = StoreUnavailable(f"{what}: {error.strerror}")
    unavailable.__cause__ = error
    return unavailable
