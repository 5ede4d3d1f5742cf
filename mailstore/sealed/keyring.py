"""Keys of the blob store: a file with a line for each key; the last key is for new blobs.

Promises: a key is on disk before any blob sealed with it (a new file is synced before its keys are
used); a rotation is complete or absent; a running process uses the new key from its next blob on.
Keys are 256 random bits. A key's name is the beginning of its hash, so that an altered line is
detected. Secrets never appear in messages or representations.
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
FAILED_SECONDS = 1.0  # before an unusable key file is read again
_HEAD = """\
# Keys of the mssante blob store, the newest last: NAME  MADE  KEY.
# Keep a copy apart from the blobs and their backups: without it no message can be read again.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, its time of creation, and its name: 8 octets of its hash."""

    made: datetime
    secret: bytes = field(repr=False)
    id: bytes = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(b"mssante blob key" + self.secret).digest()
        object.__setattr__(self, "id", digest[:ID_OCTETS])


class Keyring:
    """The keys of a file, reloaded when it changes. Thread-safe.

    `newest` is the key for new blobs, as of the last `refresh`. Raises InvalidKeys for an unusable
    file at construction; later, an unusable file leaves the keys unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = _stamp(path)
        self._failed: tuple[tuple[int, ...] | None, float] = None, 0.0
        self._adopt(read_keys(path))

    def refresh(self) -> None:
        """Reload the file if it has changed; costs a stat.

        Only a file that was loaded counts as seen. An unusable file is read again once it has
        changed, or after a second, since the disk may have failed for a moment.
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
        """Return the key of this name. Raises KeyMissing."""
        if key_id not in self._keys:
            self.refresh()
        try:
            return self._keys[key_id]
        except KeyError:
            raise KeyMissing(
                f"key {key_id.hex()} missing in {self.path}; restore it from a backup"
            ) from None

    @property
    def names(self) -> set[bytes]:
        """The names of all keys."""
        return set(self._keys)

    def _adopt(self, keys: tuple[Key, ...]) -> None:
        # The process that renamed the file may not have synced its name yet.
        try:
            sync_directory(self.path.parent)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self._keys = {key.id: key for key in keys}
        self.newest = keys[-1]


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return all keys of a file, newest last, at least one. Raises InvalidKeys."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise InvalidKeys(
                    f"{path}: readable by other users; run: chmod 600 {shlex.quote(str(path))}"
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
    """Make a missing file, with a single key; return True if made. Raises InvalidKeys."""
    with _file_lock(path):
        if path.exists():
            return False
        _write(path, (_new(now),))
        return True


def rotate(path: Path, now: datetime) -> Key:
    """Add a key, for all new blobs from now on. Raises InvalidKeys."""
    with _file_lock(path):
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
        # The line is a secret: neither it nor the error that may quote it is shown.
        raise InvalidKeys(f"{path}: line {number} is not: NAME  MADE  KEY") from None
    if len(key.secret) != KEY_OCTETS or key.id.hex() != key_id:
        raise InvalidKeys(f"{path}: line {number}: name and key do not match")
    return key


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    lines = (f"{key.id.hex()}  {key.made.isoformat()}  {key.secret.hex()}\n" for key in keys)
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # left by a killed rotation
        with open_private(temporary) as file:
            file.write((_HEAD + "".join(lines)).encode("ascii"))
            # Same owner as the old file or the folder: root may be rotating.
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
def _file_lock(path: Path) -> Iterator[None]:
    """Lock out other writers of the file. Raises InvalidKeys."""
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
    """Create a file that only its owner can read. Raises OSError."""
    return io.FileIO(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600))


def _stamp(path: Path) -> tuple[int, ...]:
    """Stamp of the file, which changes with it."""
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    return ()


def _unreadable(path: Path, error: OSError) -> InvalidKeys:
    return InvalidKeys(f"{path}: cannot be read: {error.strerror}")
