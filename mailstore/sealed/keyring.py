"""Keys of the blob store: a file with a line for each key; the last key is for new blobs.

Promises: a key is on disk before any blob sealed with it (a new file is synced before its keys are
used); a rotation is complete or absent; a running process uses the new key from its next blob on.
Keys are 256 random bits. A key's name is the beginning of its hash, so that an altered line is
detected. Secrets never appear in messages or representations.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailstore.errors import InvalidKeys, KeyMissing
from mailstore.sealed.key_file import file_lock, file_stamp, read_lines, sync_name, write_text

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
        self._seen = file_stamp(path)
        self._failed: tuple[tuple[int, ...] | None, float] = None, 0.0
        self._adopt(read_keys(path))

    def refresh(self) -> None:
        """Reload the file if it has changed; costs a stat.

        Only a file that was loaded counts as seen. An unusable file is read again once it has
        changed, or after a second, since the disk may have failed for a moment.
        """
        stamp = file_stamp(self.path)
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

    @property
    def all_keys(self) -> tuple[Key, ...]:
        """All keys, the newest last."""
        return tuple(self._keys.values())

    def _adopt(self, keys: tuple[Key, ...]) -> None:
        sync_name(self.path)
        self._keys = {key.id: key for key in keys}
        self.newest = keys[-1]


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return all keys of a file, newest last, at least one. Raises InvalidKeys."""
    return tuple(_parse(path, number, line) for number, line in read_lines(path))


def make_first(path: Path, now: datetime) -> bool:
    """Make a missing file, with a single key; return True if made. Raises InvalidKeys."""
    with file_lock(path):
        if path.exists():
            return False
        _write(path, (_new(now),))
        return True


def rotate(path: Path, now: datetime) -> Key:
    """Add a key, for all new blobs from now on. Raises InvalidKeys."""
    with file_lock(path):
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
    write_text(path, _HEAD + "".join(lines))
