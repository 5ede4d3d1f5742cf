"""Folder of revocation lists, kept between fetches and across restarts.

A DER file for each authority and scope, replaced atomically and synced before use, so that readers,
also after a crash, see the old list or the new list (DOMAIN §3.2 step 3, §9.62: the last unexpired
list is kept). The fetching process calls `offer`; any number of other processes follow by `poll`,
which costs a directory scan while nothing changes. The folder decides: its readable lists count,
older or not. Memory bridges faults: a list whose file is damaged, unreadable or gone stays in use,
and each `poll` tries the file again.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foundation.atomic_files import make_folder, replace_file
from whitelist.errors import CrlRefused
from whitelist.pki.crl import RevocationList, require_current, signer_of
from whitelist.pki.crl_scope import COMPLETE, CrlScope

FileStamp = tuple[int, int, int]
Stamp = tuple[tuple[str, FileStamp], ...]


@dataclass(frozen=True, slots=True)
class StoredCrl:
    """A kept list with its file name, which is fixed for its authority and scope."""

    name: str
    crl: RevocationList


class CrlStore:
    """The lists of `authorities` kept in `folder`, which the first list makes.

    `problems` has a line for each file that was unusable at the last read of the folder. Not
    thread-safe; any number of processes may share a folder. Raises OSError, as `poll` does, if the
    folder exists and cannot be listed.
    """

    def __init__(self, folder: Path, authorities: Sequence[x509.Certificate]) -> None:
        self.folder = folder
        self._authorities = tuple(authorities)
        self._kept: dict[str, RevocationList] = {}
        self._taken: dict[str, FileStamp] = {}
        self.problems: tuple[str, ...] = ()
        self._load(self.stamp())

    def current(self) -> tuple[RevocationList, ...]:
        """The kept list of each authority and scope, in date or not, in no order."""
        return tuple(self._kept.values())

    def by_name(self) -> dict[str, RevocationList]:
        """The lists of `current` by file name."""
        return dict(self._kept)

    def offer(self, octets: bytes, at: datetime) -> StoredCrl:
        """Keep a list, PEM or DER, if it may be used at the aware instant `at`.

        Returns once the list is synced. Raises CrlRefused as `RevocationList.read` and
        `crl.accept_crl` do, and OSError if it cannot be written; then the kept list stays in force.
        A list whose file was removed by a person keeps no older list out.
        """
        crl = RevocationList.read(octets)
        name = _file_name(signer_of(crl, self._authorities), crl.scope)
        path = self.folder / name
        make_folder(self.folder)
        with folder_lock(self.folder):
            self.poll()
            require_current(crl, at, self._kept.get(name) if path.exists() else None)
            if not _holds(path, crl):
                replace_file(path, crl.der)
            self._kept[name] = crl
        return StoredCrl(name, crl)

    def missing(self) -> frozenset[str]:
        """Names of lists in memory whose files were missing or useless at the last read."""
        return frozenset(self._kept.keys() - self._taken.keys())

    def restore(self) -> tuple[RevocationList, ...]:
        """Write the `missing` lists from memory; return them. Raises OSError."""
        restored = []
        if self.missing():
            make_folder(self.folder)
            with folder_lock(self.folder):
                self.poll()  # another process may have written a file
                for name in sorted(self.missing()):
                    replace_file(self.folder / name, self._kept[name].der)
                    restored.append(self._kept[name])
            self.poll()
        return tuple(restored)

    def stamp(self) -> Stamp:
        """The folder's content by name, inode, size and time; differs after any change."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".crl"):
                    with suppress(FileNotFoundError):  # removed just now
                        seen = entry.stat()
                        found.append((entry.name, (seen.st_ino, seen.st_size, seen.st_mtime_ns)))
        return tuple(sorted(found))

    def poll(self) -> bool:
        """Read changed files, and retry unusable files; return True if `current` changed."""
        stamp = self.stamp()
        if dict(stamp) == self._taken:
            self.problems = ()
            return False
        before = self.by_name()
        self._load(stamp)
        return self._kept != before

    def _load(self, stamp: Stamp) -> None:
        """Read each file of `stamp` that was not read yet in this state.

        Only successful reads are noted. The stamp is taken before the reading, so that a change
        meanwhile shows next time.
        """
        problems = []
        self._taken = {n: s for n, s in stamp if self._taken.get(n) == s}
        for name, stamped in stamp:
            if name in self._taken:
                continue
            path = self.folder / name
            try:
                crl = RevocationList.read(path.read_bytes())
                slot = _file_name(signer_of(crl, self._authorities), crl.scope)
            except CrlRefused as refused:
                problems.append(f"{path}: {refused}")
            except OSError as error:
                problems.append(f"{path}: cannot be read ({error.strerror})")
            else:
                self._taken[name] = stamped
                kept = self._kept.get(slot)
                if name == slot or kept is None or kept.issued_before(crl):
                    self._kept[slot] = crl
        self.problems = tuple(problems)


def _holds(path: Path, crl: RevocationList) -> bool:
    try:
        return path.read_bytes() == crl.der
    except FileNotFoundError:
        return False


def _file_name(authority: x509.Certificate, scope: CrlScope) -> str:
    """Return the file name: a digest of the authority's name and key, and of an incomplete scope.

    After a key change an authority has two lists.
    """
    key = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    part = b"" if scope == COMPLETE else str(scope).encode()
    return sha256(authority.subject.public_bytes() + key + part).hexdigest() + ".crl"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock the folder against other writers, so that no older list replaces a newer list."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
