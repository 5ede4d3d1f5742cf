"""Archive of adopted white lists in a folder, with the list in force.

Files: `active.xml` is the list in force; `<generated at>-<digest>.xml` each list ever adopted;
`history.jsonl` has a line for each adoption; `checked` the time of the last successful check;
`lock` the writers' lock. The files of `whitelist.national.notes` say how current the list is.

Promises (DOMAIN §9.12): a version and its line are synced before `active.xml` is replaced by a
rename. So after a kill or a power failure the old list or the new list is in force, whole, and in
the history. Any number of processes may read while another writes. A line without its adoption,
left by a crash, names a version that passed all checks; the next adoption continues from there.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import dropwhile
from pathlib import Path

from foundation.atomic_files import make_folder, replace_file, sync_folder
from whitelist.errors import ArchiveError, NothingAdopted
from whitelist.national.adoption import decide_adoption
from whitelist.national.archive_record import ArchiveRecord, ListSource
from whitelist.national.difference import ListDifference
from whitelist.national.lookup import WhiteList
from whitelist.national.newest import ConfirmedList, KnownLists, SharedList
from whitelist.national.notes import (
    CONFIRMED,
    SHARED,
    WANTED,
    read_known,
    write_confirmed,
    write_shared,
)

__all__ = ["Archive", "ArchiveRecord", "ListSource", "Stamp"]

FileStamp = tuple[int, int, int]
Stamp = tuple[FileStamp | None, ...]


class Archive:
    """The lists kept in `folder`, which the first adoption makes.

    All methods raise ArchiveError if a file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.active_path = folder / "active.xml"
        self._history = folder / "history.jsonl"
        self._checked = folder / "checked"

    def adopt(
        self,
        data: bytes,
        white_list: WhiteList,
        now: datetime,
        source: ListSource,
        *,
        accepted_shrink: bool,
        found: ListDifference | None = None,
        checked: datetime | None = None,
    ) -> bool:
        """Put the verified list in force, durably; return True if that changed anything.

        `data` are the octets of `white_list` (ValueError if not), `now` is aware, `accepted_shrink`
        is True if a person overruled `adoption.decide_adoption`, `found` is the difference to the
        list before, `checked` the time of the check (default: `now`). For the list in force, only
        the check is noted. Waits for another writer; raises ListRefused(rollback) if that writer
        adopted a newer list (DOMAIN §9.6).
        """
        version = ArchiveRecord.of(
            white_list, _utc(now), source, accepted_shrink=accepted_shrink, found=found
        )
        if hashlib.sha256(data).hexdigest() != version.digest:
            raise ValueError("the octets are not those that the list was read from")
        with self._writing():
            in_force = self._active_digest()
            versions = self.records()
            decide_adoption(_last(versions, in_force), version, 1.0, accept_shrink=True)
            recent = versions if in_force == version.digest else versions[-1:]
            recorded = _last(recent, version.digest) is not None
            if not recorded:
                replace_file(self.folder / version.file_name, data)
                self._append(version)
            if in_force != version.digest:
                replace_file(self.active_path, data)
            self._note_check(checked or now)
        return not recorded or in_force != version.digest

    def record_check(self, now: datetime) -> None:
        """Note that a check at the aware instant `now` found the list in force to be current."""
        with self._writing():
            self._note_check(now)

    def last_check(self) -> datetime | None:
        """Return the time of the last successful check; None if absent or unreadable."""
        try:
            found = datetime.fromisoformat(_read(self._checked).decode().strip())
        except (FileNotFoundError, ValueError):
            return None
        return found if found.tzinfo is not None else None

    def stamp(self) -> Stamp:
        """Return a stamp that changes when a list is adopted or anything noted; costs only stat.

        The first part changes only when a list is adopted.
        """
        notes = (self.folder / CONFIRMED, self.folder / SHARED)
        return tuple(map(_file_stamp, (self.active_path, self._checked, *notes)))

    def known(self) -> KnownLists:
        """Return the notes about the newest list."""
        return read_known(self.folder)

    def note_confirmed(self, found: ConfirmedList) -> None:
        """Note a check that found the list at its source."""
        with self._writing():
            write_confirmed(self.folder, found)

    def note_shared(self, found: SharedList | None) -> None:
        """Note the newest list of another machine; None: unknown."""
        with self._writing():
            write_shared(self.folder, found)

    def want_check(self) -> None:
        """Ask for a check soon, because mail waits for it."""
        try:
            (self.folder / WANTED).touch()
        except OSError as error:
            raise _failed(self.folder / WANTED, "written", error) from error

    def wanted_stamp(self) -> FileStamp | None:
        """Return a stamp that changes with each request for a check."""
        return _file_stamp(self.folder / WANTED)

    def records(self) -> tuple[ArchiveRecord, ...]:
        """Return a version for each adoption, oldest first; `problems` has the unreadable lines."""
        return self._parse()[0]

    def problems(self) -> tuple[str, ...]:
        """Return the unreadable lines of the history, such as a line cut off by a crash."""
        return self._parse()[1]

    def active(self) -> ArchiveRecord | None:
        """Return the record of the list in force; None without a list or a record of it."""
        # Digest first: a list that is in force now is in the history that is read afterwards.
        digest = self._active_digest()
        return _last(self.records(), digest)

    def find(self, reference: str) -> ArchiveRecord:
        """Return the version that `reference` means; for a list adopted twice, the last adoption.

        A reference is `active`, `previous` (the list adopted before the active list), the first
        digits of a digest (four or more), or a time of generation in ISO 8601: a date (UTC), or a
        date and time, in UTC without a time zone. Raises ArchiveError for no match or several.
        """
        if reference in ("active", "previous"):
            return self._relative(reference)
        found = {v.digest: v for v in self.records() if _means(reference, v)}
        if not found:
            raise ArchiveError(
                f"{self.folder}: {reference!r} means none of the lists kept; "
                "mssante whitelist history shows them"
            )
        if len(found) > 1:
            which = ", ".join(
                f"{v.digest[:12]} ({v.generated_at.isoformat()})" for v in found.values()
            )
            raise ArchiveError(
                f"{self.folder}: {reference!r} means {len(found)} lists: {which}; "
                "give more digits of the digest"
            )
        return found.popitem()[1]

    def load(self, reference: str) -> tuple[ArchiveRecord, bytes]:
        """Return the version of `find` and its file's octets; ArchiveError also if they changed.

        The signer may have expired since: verify as of `adopted_at` to read the list again.
        """
        version = self.find(reference)
        path = self.folder / version.file_name
        try:
            data = _read(path)
        except FileNotFoundError as error:
            raise ArchiveError(f"{path}: missing; restore it from a backup") from error
        if hashlib.sha256(data).hexdigest() != version.digest:
            raise ArchiveError(
                f"{path}: not the list that was adopted, whose SHA-256 is {version.digest}; "
                "restore it from a backup"
            )
        return version, data

    def _relative(self, reference: str) -> ArchiveRecord:
        digest = self._active_digest()
        if digest is None:
            raise NothingAdopted(
                f"{self.folder}: no list was adopted yet; run mssante whitelist refresh"
            )
        # Back to the last adoption of the list in force, and from there to another list.
        back = dropwhile(lambda v: v.digest != digest, reversed(self.records()))
        active = next(back, None)
        if active is None:
            raise ArchiveError(
                f"{self.active_path}: not in the history; run mssante whitelist refresh"
            )
        if reference == "active":
            return active
        previous = next((v for v in back if v.digest != digest), None)
        if previous is None:
            raise ArchiveError(f"{self.folder}: no list was adopted before the one in force")
        return previous

    def _active_digest(self) -> str | None:
        try:
            return hashlib.sha256(_read(self.active_path)).hexdigest()
        except FileNotFoundError:
            return None

    def _parse(self) -> tuple[tuple[ArchiveRecord, ...], tuple[str, ...]]:
        try:
            lines = _read(self._history).split(b"\n")
        except FileNotFoundError:
            return (), ()
        versions, problems = [], []
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            try:
                versions.append(ArchiveRecord.from_line(line))
            except ValueError as error:
                cut = " (cut off, as by a crash)" if number == len(lines) else ""
                problems.append(f"{self._history}, line {number}{cut}: passed over: {error}")
        return tuple(versions), tuple(problems)

    def _append(self, version: ArchiveRecord) -> None:
        with self._history.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # A line cut off by a crash stays for people to see, and must not spoil the next
                # line.
                lead = b"" if file.read(1) == b"\n" else b"\n"
            else:
                lead = b""
            file.write(lead + version.to_line())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)

    def _note_check(self, now: datetime) -> None:
        replace_file(self._checked, f"{_utc(now).isoformat()}\n".encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            make_folder(self.folder)
            with (self.folder / "lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, or with the process
                yield
        except OSError as error:
            raise _failed(self.folder, "written", error) from error


def _last(versions: tuple[ArchiveRecord, ...], digest: str | None) -> ArchiveRecord | None:
    return next((v for v in reversed(versions) if v.digest == digest), None)


def _means(reference: str, version: ArchiveRecord) -> bool:
    if len(reference) >= 4 and version.digest.startswith(reference.lower()):
        return True
    try:
        return version.generated_at.date() == date.fromisoformat(reference)
    except ValueError:  # not a date alone
        pass
    try:
        instant = datetime.fromisoformat(reference)
    except ValueError:
        return False
    return version.generated_at == (instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"the instant {instant} has no time zone")
    return instant.astimezone(UTC)


def _file_stamp(path: Path) -> FileStamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> bytes:
    """Read a file; callers handle FileNotFoundError, whose meaning depends on the file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _failed(path, "read", error) from error


def _failed(path: Path, what: str, error: OSError) -> ArchiveError:
    where = error.filename or path
    return ArchiveError(
        f"{where}: cannot be {what} ({error.strerror}); check its owner, its mode and the space"
    )
