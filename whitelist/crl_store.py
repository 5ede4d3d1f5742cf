"""The folder in which revocation lists are kept between fetches and across restarts.

One DER file per authority, replaced as a whole and synced before it counts, so that a reader, or a
machine that fails half-way, sees the old list or the new one (DOMAIN §3.2 step 3, §9.62: the last
unexpired list is kept). One process offers what it fetched, any number follow: `poll` costs a
directory scan while nothing changes. What is in memory is never given up for something older,
damaged or gone on disk.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from whitelist.durable import make_folder, replace_file
from whitelist.errors import CrlRefused
from whitelist.names import DistinguishedName
from whitelist.revocation import RevocationList, accept, signer_of

Stamp = tuple[tuple[str, int, int, int], ...]


class CrlStore:
    """The lists of `authorities` kept in `folder`, which is made when the first list comes.

    `problems` has one line for each file that could not be used when the folder was last read.
    Not for several threads at once; any number of processes may share a folder. Raises OSError if
    the folder is there and cannot be listed, as `poll` does.
    """

    def __init__(self, folder: Path, authorities: Sequence[x509.Certificate]) -> None:
        self._folder = folder
        self._authorities = tuple(authorities)
        self._kept: dict[str, RevocationList] = {}
        self._seen: Stamp = ()
        self.problems: tuple[str, ...] = ()
        self._load()

    def current(self) -> tuple[RevocationList, ...]:
        """The newest list of each authority that has one, in date or not, in no set order."""
        return tuple(self._kept.values())

    def offer(self, octets: bytes, at: datetime) -> RevocationList:
        """Keep a list, PEM or DER, if it passes `revocation.accept` as of the aware `at`.

        Returns once it is safe on disk. Raises CrlRefused as `RevocationList.read` and `accept`
        do, and OSError if it cannot be written; either leaves what was kept in force.
        """
        crl = RevocationList.read(octets)
        name = _file_name(signer_of(crl, self._authorities))
        make_folder(self._folder)
        with _alone(self._folder):
            self.poll()
            accept(crl, self._authorities, at, self._kept.get(name))
            if not self._on_disk(name, crl):
                replace_file(self._folder / name, crl.der)
            self._kept[name] = crl
        return crl

    def due(self, at: datetime) -> tuple[DistinguishedName, ...]:
        """The authorities whose list is to be fetched: none is kept, or a quarter is left of it.

        So is one in place of a list that is not valid yet: a clock was set back, or was ahead.
        """
        names: dict[DistinguishedName, None] = {}
        for authority in self._authorities:
            kept = self._kept.get(_file_name(authority))
            if kept is None or at >= kept.refresh_at or not kept.in_date(at):
                names[DistinguishedName.from_certificate(authority)] = None
        return tuple(names)

    def stamp(self) -> Stamp:
        """What the folder holds now by name, inode, size and time; differs after any change."""
        try:
            with os.scandir(self._folder) as entries:
                found = [(e.name, e.stat()) for e in entries if e.name.endswith(".crl")]
        except FileNotFoundError:
            return ()
        return tuple(sorted((n, s.st_ino, s.st_size, s.st_mtime_ns) for n, s in found))

    def poll(self) -> bool:
        """Read the folder again if it changed; say whether `current` did."""
        if self.stamp() == self._seen:
            return False
        before = self.current()
        self._load()
        return self.current() != before

    def _load(self) -> None:
        self._seen = self.stamp()  # first, so that a change during the reading shows next time
        problems = []
        for name, *_ in self._seen:
            try:
                crl = RevocationList.read((self._folder / name).read_bytes())
                signer = signer_of(crl, self._authorities)
            except CrlRefused as refused:
                problems.append(f"{self._folder / name}: {refused}")
            except OSError as error:
                problems.append(f"{self._folder / name}: cannot be read ({error.strerror})")
            else:
                slot = _file_name(signer)
                if slot not in self._kept or self._kept[slot].older_than(crl):
                    self._kept[slot] = crl
        self.problems = tuple(problems)

    def _on_disk(self, name: str, crl: RevocationList) -> bool:
        try:
            return (self._folder / name).read_bytes() == crl.der
        except FileNotFoundError:
            return False


def _file_name(authority: x509.Certificate) -> str:
    """Name the file of an authority by its name and key: after a key change it has two lists."""
    key = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(authority.subject.public_bytes() + key).hexdigest() + ".crl"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder against other writers, so that none puts an older list over a newer one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
