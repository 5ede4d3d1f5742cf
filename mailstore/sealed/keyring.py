"""The keys of the blob store: a file of a line for each, of which the last one writes.

Promises: a key that a blob was sealed with is on disk before it (a file noticed is synced before
its keys are used), a rotation is there whole or not at all, and a running process notices one at
its next blob. Keys are 256 random bits; a key's name is the beginning of its hash, so that a line
that was altered is noticed. The secrets never appear in messages or representations.
"""

import fcntl
import hashlib
import io
import os
import secrets
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from foundation.fsync import sync_directory
from mailstore.errors import InvalidKeys, KeyMissing

KEY_OCTETS = 32
ID_OCTETS = 8
FAILED_SECONDS = 1.0  # until a key file that could not be used is read again
_HEAD = """\
# Keys of the mssante blob store, the newest last: NAME  MADE  KEY.
# Keep a copy apart from the blobs and their backups: without it no message can be read again.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, the time at which it was made, and its name: 8 octets of a hash of it."""

    made: datetime
    secret: bytes = field(repr=False)
    id: bytes = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(b"mssante blob key" + self.secret).digest()
        object.__setattr__(self, "id", digest[:ID_OCTETS])


class Keyring:
    """The keys of one file, followed as it changes. Shared freely between threads.

    `newest` is the key to write with, as of the last `refresh`. Raises InvalidKeys for a file that
    cannot be used at first; a later one that cannot leaves the keys as they were.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = _stamp(path)
        self._failed: tuple[tuple[int, ...] | None, float] = None, 0.0
        self._adopt(read_keys(path))

    def refresh(self) -> None:
        """Look whether the file has changed, at the cost of stat.

        Only what was taken counts as seen: a file that could not be used is read again once it has
        changed, or after a second, since the disk may have been unwell for a moment.
        """
        stamp = _stamp(self.path)
        failed, again = self._failed
        if stamp == self._seen or (stamp == failed and time.monotonic() < again):
            return
        try:
            self._adopt(read_keys(self.path))
        except InvalidKeys:
            self._failed = stamp, time.monotonic() + FAILED_SECONDS
        else:
            self._seen = stamp

    def get(self, key_id: bytes) -> Key:
        """The key of this name. Raises KeyMissing."""
        if key_id not in self._keys:
            self.refresh()
        try:
            return self._keys[key_id]
        except KeyError:
            raise KeyMissing(
                f"the key {key_id.hex()} is not in {self.path}; put it back from a backup"
            ) from None

    @property
    def names(self) -> set[bytes]:
        """The names of all keys."""
        return set(self._keys)

    def _adopt(self, keys: tuple[Key, ...]) -> None:
        # Whoever renamed the file into place may not have synced its name yet.
        try:
            sync_directory(self.path.parent)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self._keys = {key.id: key for key in keys}
        self.newest = keys[-1]


def read_keys(path: Path) -> tuple[Key, ...]:
    """All keys of a file, the newest last, at least one. Raises InvalidKeys."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise InvalidKeys(
                    f"{path}: others than its owner can read it; "
                    f"run: chmod 600 {shlex.quote(str(path))}"
                )
            lines = file.read().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise _unreadable(path, error) from error
    keys = tuple(
        _parse(path, number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    )
    if not keys:
        raise InvalidKeys(f"{path}: no key in it")
    return keys


def make_first(path: Path, now: datetime) -> bool:
    """Make a file with one key where there is no file; tells whether it did. Raises InvalidKeys."""
    with _alone(path):
        if path.exists():
            return False
        _write(path, (_new(now),))
        return True


def rotate(path: Path, now: datetime) -> Key:
    """Add a key, which writes from now on. Raises InvalidKeys."""
    with _alone(path):
        key = _new(now)
        _write(path, (*read_keys(path), key))
        return key


def _new(now: datetime) -> Key:
    return Key(now, secrets.token_bytes(KEY_OCTETS))


def _parse(path: Path, number: int, line: str) -> Key:
    try:
        key_id, made, secret = line.split()
        key = Key(datetime.fromisoformat(made), bytes.fromhex(secret))
    except ValueError:
        # The line is a secret: it is not shown, nor is the error that may quote it.
        raise InvalidKeys(f"{path}: line {number} is not: NAME  MADE  KEY") from None
    if len(key.secret) != KEY_OCTETS or key.id.hex() != key_id:
        raise InvalidKeys(f"{path}: line {number}: the key is not the one of its name")
    return key


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    lines = (f"{key.id.hex()}  {key.made.isoformat()}  {key.secret.hex()}\n" for key in keys)
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # of a rotation that was killed
        with open_private(temporary) as file:
            file.write((_HEAD + "".join(lines)).encode("ascii"))
            # Whoever may read the folder's files is to read this one: root may be rotating.
            owner = (path if path.exists() else path.parent).stat()
            if owner.st_uid != os.geteuid():
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InvalidKeys(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other writers of the file away. Raises InvalidKeys."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidKeys(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def open_private(path: Path) -> io.FileIO:
    """Make a file that its owner alone can read. Raises OSError."""
    return io.FileIO(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600))


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does."""
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    return ()


def _unreadable(path: Path, error: OSError) -> InvalidKeys:
    return InvalidKeys(f"{path}: cannot be read: {error.strerror}")
