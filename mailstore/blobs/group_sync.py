"""Group sync of files and their names; a failed sync is never trusted.

Linux reports a lost write once for each open descriptor. The next sync of the same file reports
success, though the octets may be lost. So a failed sync is never repeated: the draft is discarded,
and a blob whose directory could not be synced is never marked durable
(`mailstore.blobs.file_store`).

A group of new files is synced by a single call (`foundation.fsync`). A file begun before its group
may have lost octets earlier, which only its own descriptor reports: it is always synced by that
too.
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

_TOGETHER: Final = 3  # files from which syncing the whole file system is cheaper
_THREADS: Final = 8  # files and directories synced in parallel by a process
_NO_SUCH_CALL: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})


class GroupSync:
    """Syncs files and directories below the folder `root`. Thread-safe. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="blob-sync")
        self._as_one = AVAILABLE
        self._lock = threading.Lock()
        self.failures = 0

    def close(self) -> None:
        """Stop the threads once they are done."""
        self._pool.shutdown()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def contents(
        self, fresh: Sequence[Draft], begun: Sequence[Draft], since: int
    ) -> StoreUnavailable | None:
        """Sync written drafts; a draft that cannot be synced is discarded.

        `begun` are the drafts that had a file before the group; `since` is the value of `failures`
        at that time. Returns the error if none of the drafts can be trusted, else None.
        """
        alone = [*begun, *fresh]
        if len(fresh) >= _TOGETHER and self._as_one:
            failure = self._everything(since)
            if failure is not None:
                return failure
            if self._as_one:
                alone = list(begun)
        # Threads are only for the wait for the disk. The rest is quick, and threads that compete
        # for the interpreter would slow it down.
        list(self._pool.map(_sync_draft, alone))
        return None

    def names(self, fanouts: set[Path], since: int) -> dict[Path, StoreUnavailable]:
        """Sync directories with new names of blobs; return the errors by directory."""
        if len(fanouts) >= _TOGETHER and self._as_one:
            failure = self._everything(since)
            if self._as_one:
                return {} if failure is None else dict.fromkeys(fanouts, failure)
        directories = list(fanouts)
        outcomes = zip(directories, self._pool.map(_sync_folder, directories), strict=True)
        return {path: failure for path, failure in outcomes if failure is not None}

    def _everything(self, since: int) -> StoreUnavailable | None:
        """Sync the whole file system; return the error if recent writes cannot be trusted."""
        try:
            sync_filesystem(self._descriptor)
        except OSError as error:
            if error.errno in _NO_SUCH_CALL:
                self._as_one = False
                return None
            self._count_failure()
            return failure("cannot sync the blob store", error)
        # The kernel reports a failure once: perhaps to another thread, and about our files.
        if self.failures != since:
            return StoreUnavailable("cannot sync the blob store: it failed a moment ago")
        return None

    def _count_failure(self) -> None:
        with self._lock:
            self.failures += 1


def _sync_draft(draft: Draft) -> None:
    with suppress(StoreUnavailable):  # the draft has ended and reports its own error
        draft.sync()


def _sync_folder(path: Path) -> StoreUnavailable | None:
    try:
        sync_directory(path)
    except OSError as error:
        return failure(f"cannot sync {path}", error)
    return None


def failure(what: str, error: OSError) -> StoreUnavailable:
    """The error to raise, or to give a draft, after a failed call of the file system."""
    unavailable = StoreUnavailable(f"{what}: {error.strerror}")
    unavailable.__cause__ = error
    return unavailable
