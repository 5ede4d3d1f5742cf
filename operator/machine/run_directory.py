"""Run folder: run-time files that the processes of a daemon share.

Its lock makes sure that a storage folder has only one daemon.  All other entries, except the state
of the clock, are made new at each start, whatever is in their place: a file, a folder, a dangling
link.
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
from ..errors import OperatorError, Outage
from ..settings.model import SettingsError

OPENSSL: Final = "OPENSSL_CONF"
# A single malloc arena: threads allocate under the interpreter's lock, and more arenas would only
# cost memory.
ARENAS: Final = "MALLOC_ARENA_MAX"
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"  # folder of metric files, summed by /metrics


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Folder `run` of a storage folder."""

    path: Path

    @property
    def worker_loads(self) -> Path:
        """Folder in which workers share their numbers of sessions (`worker_load`)."""
        return self.path / "seats"

    @property
    def own_port(self) -> Path:
        """File with the source port of the daemon's self-check (`own_port`)."""
        return self.path / "own-port"

    @property
    def clock(self) -> Path:
        """File with the state of the clock watch (`clock_file`); kept over restarts."""
        return self.path / "clock"

    def lock(self) -> IO[str] | None:
        """Lock the folder until the returned file is closed; None if another daemon holds it.

        Folder and lock file are created if missing.  Raises SettingsError if they cannot be used,
        Outage if the disk is full.  Nothing is removed here: a running daemon may use it.
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
        """Raise SettingsError if `lock` would, or if `clear` lacks the rights; change nothing."""
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
        """Write the addresses that the daemon listens on: (key, address as configured).

        Best effort.
        """
        with suppress(OSError):
            (self.path / "listen").write_text(json.dumps(sorted(named)), encoding="utf-8")

    def listening(self) -> set[tuple[str, str]] | None:
        """Addresses that `listens` wrote last; None if unreadable."""
        try:
            noted = json.loads((self.path / "listen").read_text(encoding="utf-8"))
            return {(key, endpoint) for key, endpoint in noted}
        except (OSError, ValueError, TypeError):
            return None

    def waits(self, reasons: Iterable[tuple[str, str]]) -> None:
        """Write the waiting processes as (role, reason).  Best effort."""
        draft = self.path / "waiting.new"
        with suppress(OSError):
            draft.write_text(json.dumps(sorted(reasons)), encoding="utf-8")
            draft.replace(self.path / "waiting")

    def waiting(self) -> list[tuple[str, str]]:
        """Processes that `waits` wrote last; empty if unreadable."""
        try:
            noted = json.loads((self.path / "waiting").read_text(encoding="utf-8"))
            return [(str(role), str(why)) for role, why in noted]
        except (OSError, ValueError, TypeError):
            return []

    def counts_silent(self, numbers: Mapping[str, int]) -> None:
        """Write the number of processes killed as silent, by role.  Best effort."""
        draft = self.path / "silent.new"
        with suppress(OSError):
            draft.write_text(json.dumps(dict(numbers)), encoding="utf-8")
            draft.replace(self.path / "silent")

    def silent(self) -> dict[str, int]:
        """Numbers that `counts_silent` wrote last; empty if unreadable."""
        try:
            noted = json.loads((self.path / "silent").read_text(encoding="utf-8"))
            return {str(role): int(number) for role, number in noted.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def clear(self) -> None:
        """Remove the files of an earlier daemon.  Raises SettingsError, Outage."""
        try:
            _remove(self.path / "metrics")
            (self.path / "metrics").mkdir(mode=0o700)
            _remove(self.worker_loads)
            worker_load.create_load_file(self.worker_loads)
            _remove(self.path / "listen")
            _remove(self.path / "waiting")
            _remove(self.path / "silent")
            _remove(self.own_port)
            own_port.create_port_file(self.own_port)
            # Kept: the lock, which an old courier may still hold; the jumps of the clock.
            for left in (self.path / "courier", self.clock):
                if left.is_symlink() or not left.is_file():
                    _remove(left)
            self.keep(())
        except OSError as error:
            raise _unusable(Path(error.filename or self.path), error) from error

    def environment(self, generation: int, groups: Sequence[str]) -> dict[str, str]:
        """Environment variables of the processes of a generation.

        Each generation has its own OpenSSL configuration, so that a restarted process of an older
        generation keeps its settings.  Raises SettingsError, Outage.
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
        """Remove all OpenSSL configurations except those named in these environments."""
        needed = {environment[OPENSSL] for environment in environments}
        for path in self.path.glob("openssl*.cnf"):
            if str(path.absolute()) not in needed:
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder with its content, if it exists.  Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> OperatorError:
    """SettingsError, or Outage if the disk is full or broken."""
    if is_outside(error):
        return Outage(f"{path}: {error.strerror}")
    if path.is_symlink() and not path.exists():
        problem = f"link to {path.readlink()}, which does not exist; create it or remove {path}"
    elif isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        kind = "a folder" if path.is_dir() else "not a folder"
        problem = f"is {kind}: unexpected here; remove it"
    else:
        problem = f"{error.strerror}; give the daemon's user the rights on it"
    return SettingsError(f"{path}: {problem}")
