"""Message bodies on disk, each a file under the blob's name.

Layout: `ROOT/ab/<64 hexadecimal digits>`, drafts in `ROOT/tmp/`. Files have the form of
`mailstore.sealed.blob_format`; directories have mode 0700. Promises:

- A visible blob is whole and the one of its name, even after a kill.
- Once `seal` has returned a name, its blob survives a power cut: the draft is synced (fdatasync)
  before its rename, its fan-out directory after; the root once fan-out directories are made.
- The blob is not freed within the grace period after that.
- Mode 0600: the directory entry is not yet synced; other processes must not reference the blob.
  Mode 0400: durable; any process may reference it.
"""

import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from foundation.failpoints import failpoint
from foundation.fsync import sync_directory
from mailstore.blobs.gc_lock import GcLock
from mailstore.blobs.group_sync import GroupSync, failure
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.sealed.blob_format import HEADER, BlobFormat, BlobHeader, lengths
from mailstore.sealed.blob_reader import open_content, read_header
from mailstore.sealed.draft import Draft, DraftMemory
from mailstore.sealed.draft_folder import (
    make_private_folder,
    make_private_for,
    other_owner,
    sweep_drafts,
)
from mailstore.sealed.key_file import open_private

__all__ = ["Draft", "FileBlobStore"]

_NAME = re.compile(r"[0-9a-f]{64}")
_MARK = "store"  # file with the name of the store that owns these blobs


class FileBlobStore:
    """The blobs under a directory, which is made if its parent exists.

    `blob_format` is the form of new blobs; blobs of other forms are read too. `room` is the shared
    memory for drafts, in octets (`mailstore.sealed.draft.DraftMemory`). Thread-safe; each process
    makes its own object. Raises StoreUnavailable if the directory cannot be made.
    """

    def __init__(self, root: Path, form: BlobFormat = BlobFormat(), room: int = 0) -> None:  # noqa: B008 - frozen
        self.root = root
        self.blob_format = form
        self._room = DraftMemory(room)
        self._drafts = root / "tmp"
        self._fanouts = {name: root / name for name in (f"{i:02x}" for i in range(256))}
        try:
            for directory in (root, self._drafts):
                if not directory.is_dir():
                    with suppress(FileExistsError):  # made by another process meanwhile
                        make_private_folder(directory)
                sync_directory(directory.parent)
            self._make_fanouts()
            self._guard = GcLock(root)
            self._syncer = GroupSync(root)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot make the blob store {error.filename or root}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Stop the sync threads once they are done."""
        self._syncer.close()
        self._guard.close()

    def draft(self, name: str = "") -> Draft:
        """Begin a new blob, in memory while it is small; `name`: of a blob to write anew."""
        return Draft(self._drafts, self.blob_format, self._room, name)

    def probe(self) -> None:
        """Check that a draft can be written and synced now. Raises StoreUnavailable."""
        draft = self.draft()
        try:
            draft.write(b"probe")
            draft.spill()
            draft.sync()
        finally:
            draft.discard()

    def check_access(self) -> None:
        """Check that the folder exists. Raises StoreUnavailable."""
        try:
            self.root.stat()
        except OSError as error:
            raise StoreUnavailable(f"cannot reach {self.root}: {error.strerror}") from error

    def seal(self, drafts: Sequence[Draft], *, anew: bool = False) -> list[str | StoreUnavailable]:
        """Make a group of drafts durable in parallel; return their blobs' names in order.

        A failed draft has its StoreUnavailable in the result; the other drafts are not affected.
        All drafts have ended at return. Existing blobs are marked as used, or replaced if `anew`.
        """
        if self.blob_format.keys is not None:
            self.blob_format.keys.refresh()
        since = self._syncer.failures
        begun = [draft.spilled for draft in drafts]
        failpoint("blobs.sealing")
        with self._guard:
            outcomes = [self._write(draft, anew=anew) for draft in drafts]
        failpoint("blobs.written")
        written = [i for i, draft in enumerate(drafts) if not draft.ended]
        failure = self._syncer.contents(
            [drafts[i] for i in written if not begun[i]],
            [drafts[i] for i in written if begun[i]],
            since,
        )
        failpoint("blobs.synced")
        with self._guard:
            for i in written:
                outcomes[i] = self._place(drafts[i], failure)
                failpoint("blobs.placing")
        failpoint("blobs.placed")
        placed = {name for name in (outcomes[i] for i in written) if isinstance(name, str)}
        failed = self._syncer.names({self._fanout(name) for name in placed}, since)
        for name in placed:
            if self._fanout(name) not in failed:
                self._mark_durable(name)
        return [
            failed.get(self._fanout(outcome), outcome)
            if isinstance(outcome, str) and outcome in placed
            else outcome
            for outcome in outcomes
        ]

    def path(self, blob: str) -> Path:
        """Path of a blob, stored or not. Raises NotFound for an invalid name."""
        if not _NAME.fullmatch(blob):
            raise NotFound(f"{blob!r} is not the name of a blob")
        return self._fanout(blob) / blob

    def exists(self, blob: str) -> bool:
        """True if the blob is stored."""
        return self.path(blob).is_file()

    def open(self, blob: str) -> BinaryIO:
        """Open the content of a blob for reading, verified while it is read.

        Raises NotFound; the reading also raises BlobDamaged, KeyMissing and StoreUnavailable.
        """
        try:
            return open_content(io.FileIO(self.path(blob)), blob, self.blob_format.keys)
        except FileNotFoundError as error:
            raise self._missing(blob) from error
        except (BlobDamaged, KeyMissing) as error:
            raise type(error)(f"cannot read the blob {blob}: {error}") from error
        except OSError as error:
            raise StoreUnavailable(f"cannot read the blob {blob}: {error.strerror}") from error

    def header(self, blob: str) -> BlobHeader | None:
        """Header of a blob's file, unverified; None without a header. Errors as `open`."""
        try:
            with io.FileIO(self.path(blob)) as file:
                return read_header(file)
        except FileNotFoundError as error:
            raise self._missing(blob) from error
        except OSError as error:
            raise StoreUnavailable(f"cannot read the blob {blob}: {error.strerror}") from error

    def names(self) -> Iterator[str]:
        """The names of all blobs, sorted; blobs stored or freed meanwhile may be missing.

        Memory: the names of a single fan-out directory. Raises StoreUnavailable.
        """
        for fanout in self._fanouts.values():
            try:
                found = sorted(path.name for path in fanout.iterdir() if _NAME.fullmatch(path.name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreUnavailable(f"cannot list {fanout}: {error.strerror}") from error
            yield from found

    def keys_used(self, limit: int) -> set[bytes]:
        """Key identifiers of up to `limit` blobs, of different fan-outs, for the check at start.

        Raises StoreUnavailable.
        """
        samples = islice(filter(None, map(_any_blob, self._fanouts.values())), limit)
        found: set[bytes] = set()
        for blob in samples:
            with suppress(BlobDamaged, NotFound):
                header = self.header(blob)
                if header is not None and header.key_id is not None:
                    found.add(header.key_id)
        return found

    def unused_since(self, blob: str, time: datetime) -> bool:
        """True if a blob is stored, and was neither stored nor referenced since a time."""
        try:
            return self.path(blob).stat().st_mtime < time.timestamp()
        except OSError:
            return False

    def free(self, blob: str, unused_since: datetime) -> int | None:
        """Remove a blob unless it was used since a time; return its octets on disk, or None.

        The caller knows that no message referred to it at that time. Raises StoreUnavailable.
        """
        path = self.path(blob)
        with self._guard.exclusive():
            try:
                found = path.stat()
                if found.st_mtime >= unused_since.timestamp():
                    return None
                path.unlink()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise StoreUnavailable(f"cannot free {blob}: {error.strerror}") from error
        return found.st_size

    def sweep(self, older_than: datetime) -> int:
        """Remove temporary files of dead processes, last written before a time.

        Returns their number. Raises StoreUnavailable.
        """
        return sweep_drafts(self._drafts, older_than)

    @property
    def place(self) -> str:
        """See `BlobStore.place`."""
        return f"the folder {self.root}"

    def place_mark(self) -> str | None:
        """See `BlobStore.place_mark`."""
        try:
            return (self.root / _MARK).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failure(f"cannot read {self.root / _MARK}", error) from error

    def put_place_mark(self, store: str) -> None:
        """See `BlobStore.put_place_mark`."""
        draft = self._drafts / f"mark-{uuid4().hex}"
        try:
            with open_private(draft) as file:
                file.write(f"{store}\n".encode("ascii"))
                os.fsync(file.fileno())
            draft.replace(self.root / _MARK)
            sync_directory(self.root)
        except OSError as error:
            raise failure(f"cannot write {self.root / _MARK}", error) from error

    def _make_fanouts(self) -> None:
        """Make missing fan-out folders, on disk before any blob is in them."""
        made = []
        try:
            owner = other_owner(self.root)
            for folder in self._fanouts.values():
                try:
                    make_private_for(owner, folder)
                except FileExistsError:
                    if not folder.is_dir():  # no body could be written there
                        raise
                else:
                    made.append(folder)
            sync_directory(self.root)
        except OSError:
            # A second sync would report success, so folders that may not be on disk are removed.
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise

    def _mark_durable(self, blob: str) -> None:
        """Mark a blob as durable, for every process."""
        with suppress(OSError):  # else the blob is written again at its next use
            self.path(blob).chmod(0o400)

    def _missing(self, blob: str) -> NotFound | StoreUnavailable:
        """NotFound only if the blob's folder exists: a disk may be unmounted."""
        if self._fanout(blob).is_dir():
            return NotFound(f"the blob {blob} is missing from {self.root}")
        return StoreUnavailable(f"the folder {self._fanout(blob)} is missing: is its disk mounted?")

    def _fanout(self, blob: str) -> Path:
        return self._fanouts[blob[:2]]

    def _write(self, draft: Draft, *, anew: bool) -> str | StoreUnavailable:
        """Write a draft to its file, or discard it if its blob is stored already."""
        blob = draft.blob
        try:
            known = draft.named_by_content and not anew and not draft.ended
            if known and self._reuse(blob, draft.size):
                draft.discard()
            else:
                draft.spill()
        except StoreUnavailable as error:
            return error
        return blob

    def _reuse(self, blob: str, size: int) -> bool:
        """Mark a blob as used if it is stored and durable; False: write it again."""
        path = self.path(blob)
        # Only whole, synced files get such a name. A file of another size was damaged since. The
        # name of a file with write permission may not be on disk, whatever a sync reports now.
        try:
            status = path.stat()
            found = status.st_size
            if status.st_mode & stat.S_IWUSR:
                return False
            if found in lengths(size) or self._compressed(blob, found, size):
                os.utime(path)
                return True
        except (OSError, StoreUnavailable):
            pass
        return False

    def _compressed(self, blob: str, found: int, size: int) -> bool:
        header = self.header(blob) if found > HEADER else None
        return header is not None and (header.stored, header.size) == (found, size)

    def _place(self, draft: Draft, failure: StoreUnavailable | None) -> str | StoreUnavailable:
        """Rename a synced draft to its blob; after a `failure` of the group, discard it."""
        if failure is not None:
            draft.discard()
            return failure
        target = self.path(draft.blob)
        try:
            draft.place(target)
        except StoreUnavailable as error:
            # If the directory was removed, the next attempt finds it again.
            if not target.parent.exists():
                with suppress(OSError):
                    self._make_fanouts()
            return error
        return draft.blob


def _any_blob(fanout: Path) -> str | None:
    with suppress(FileNotFoundError), os.scandir(fanout) as found:
        return next((entry.name for entry in found if _NAME.fullmatch(entry.name)), None)
    return None
