"""The run folder: what a daemon keeps on disk for its processes and need not find again.

Whoever holds its lock is the one daemon of a storage folder.  All else in it, but what is known of
the clock, is made anew at each start, whatever stands in its place: a file, a folder, a link to
nowhere.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from relay.connection import own_port, worker_load
from relay.policy import tls

from ..assembly.outside_errors import is_outside
from ..errors import Away, OperatorError
from ..settings.model import SettingsError

OPENSSL: Final = "OPENSSL_CONF"
# Threads mostly hold the interpreter while they allocate: an arena for each is memory for nothing.
ARENAS: Final = "MALLOC_ARENA_MAX"
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"  # where processes keep what the endpoint sums


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder `run` of a storage folder."""

    path: Path

    @property
    def seats(self) -> Path:
        """Where workers tell each other how many sessions they have (`worker_load`)."""
        return self.path / "seats"

    @property
    def own_port(self) -> Path:
        """Where workers find the port from which the daemon asks itself (`own_port`)."""
        return self.path / "own-port"

    @property
    def clock(self) -> Path:
        """What is known of this machine's clock (`clock_file`); outlives a daemon."""
        return self.path / "clock"

    def lock(self) -> IO[str] | None:
        """Hold it, made where it is missing, while the file is open; None if another does.

        Raises SettingsError where the folder or the lock cannot be used, Away for want of room:
        nothing is removed here, since a daemon may hold what stands in their place.
        """
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            handle = (self.path / "lock").open("w")
        except OSError as error:
            raise _unusable(Path(error.filename or self.path), error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        return handle

    def check(self) -> None:
        """Raise SettingsError where `lock` would, or `clear` by another user's files."""
        path, error = self.path, None
        if not os.path.lexists(path):
            return
        if not path.is_dir():
            error = errno.ENOTDIR
        elif not os.access(path, os.W_OK | os.X_OK):
            error = errno.EACCES
        elif os.path.lexists(lock := path / "lock"):
            path = lock
            if lock.is_dir():
                error = errno.EISDIR
            elif lock.exists() and not os.access(lock, os.W_OK):
                error = errno.EACCES
            elif not lock.exists() and not lock.resolve().parent.is_dir():
                error = errno.ENOENT
        if error is not None:
            raise _unusable(path, OSError(error, os.strerror(error), str(path)))

    def listens(self, named: Iterable[tuple[str, str]]) -> None:
        """Note the addresses that the daemon holds, by key and as configured; best effort."""
        with suppress(OSError):
            (self.path / "listen").write_text(json.dumps(sorted(named)), encoding="utf-8")

    def listening(self) -> set[tuple[str, str]] | None:
        """What `listens` noted last, None where nothing can be read."""
        try:
            noted = json.loads((self.path / "listen").read_text(encoding="utf-8"))
            return {(key, endpoint) for key, endpoint in noted}
        except (OSError, ValueError, TypeError):
            return None

    def waits(self, reasons: Iterable[tuple[str, str]]) -> None:
        """Note which processes, by role, wait and why; best effort."""
        draft = self.path / "waiting.new"
        with suppress(OSError):
            draft.write_text(json.dumps(sorted(reasons)), encoding="utf-8")
            draft.replace(self.path / "waiting")

    def waiting(self) -> list[tuple[str, str]]:
        """What `waits` noted last, nothing where nothing can be read."""
        try:
            noted = json.loads((self.path / "waiting").read_text(encoding="utf-8"))
            return [(str(role), str(why)) for role, why in noted]
        except (OSError, ValueError, TypeError):
            return []

    def counts_silent(self, numbers: Mapping[str, int]) -> None:
        """Note how many processes of each role were killed for their silence; best effort."""
        draft = self.path / "silent.new"
        with suppress(OSError):
            draft.write_text(json.dumps(dict(numbers)), encoding="utf-8")
            draft.replace(self.path / "silent")

    def silent(self) -> dict[str, int]:
        """What `counts_silent` noted last, nothing where nothing can be read."""
        try:
            noted = json.loads((self.path / "silent").read_text(encoding="utf-8"))
            return {str(role): int(number) for role, number in noted.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def clear(self) -> None:
        """Remove what the processes of an earlier daemon left.  Raises SettingsError, Away."""
        try:
            _remove(self.path / "metrics")
            (self.path / "metrics").mkdir(mode=0o700)
            _remove(self.seats)
            worker_load.lay_out(self.seats)
            _remove(self.path / "listen")
            _remove(self.path / "waiting")
            _remove(self.path / "silent")
            _remove(self.own_port)
            own_port.lay_out(self.own_port)
            # A lock that a courier left over may still hold; jumps of the clock that still count.
            for left in (self.path / "courier", self.clock):
                if left.is_symlink() or not left.is_file():
                    _remove(left)
            self.keep(())
        except OSError as error:
            raise _unusable(Path(error.filename or self.path), error) from error

    def environment(self, generation: int, groups: Sequence[str]) -> dict[str, str]:
        """What the processes of a generation are told by their environment.

        Each generation has an OpenSSL configuration of its own: one of an older generation that is
        started again goes by its own.  Raises SettingsError, Away.
        """
        path = self.path / f"openssl-{generation}.cnf"
        try:
            path.write_text(tls.openssl_configuration(groups), encoding="ascii")
        except OSError as error:
            raise _unusable(path, error) from error
        return {
            OPENSSL: str(path.absolute()),
            METRICS: str((self.path / "metrics").absolute()),
            ARENAS: "1",
        }

    def keep(self, environments: Iterable[Mapping[str, str]]) -> None:
        """Remove the OpenSSL configurations that none of these environments names."""
        needed = {environment[OPENSSL] for environment in environments}
        for path in self.path.glob("openssl*.cnf"):
            if str(path.absolute()) not in needed:
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it, if it is there.  Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> OperatorError:
    """A SettingsError, or Away where the disk is full or unwell."""
    if is_outside(error):
        return Away(f"{path}: {error.strerror}")
    if path.is_symlink() and not path.exists():
        problem = f"a link to {path.readlink()}, which is missing; make that or remove {path}"
    elif isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        kind = "a folder" if path.is_dir() else "no folder"
        problem = f"is {kind}; no daemon makes it so: remove it"
    else:
        problem = f"{error.strerror}; give the daemon's user the rights on it"
    return SettingsError(f"{path}: {problem}")
