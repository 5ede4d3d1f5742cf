"""The run folder: what a daemon keeps on disk for its processes and need not find again.

Whoever holds its lock is the one daemon of a storage folder.
"""

import fcntl
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from relay import own_port, seats, tls

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
        """Where workers tell each other how many sessions they have (`relay.seats`)."""
        return self.path / "seats"

    @property
    def own_port(self) -> Path:
        """Where workers find the port from which the daemon asks itself (`relay.own_port`)."""
        return self.path / "own-port"

    def lock(self) -> IO[str] | None:
        """Hold it, made where it is missing, while the file is open; None if another does."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        handle = (self.path / "lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        return handle

    def clear(self) -> None:
        """Remove what the processes of an earlier daemon left."""
        shutil.rmtree(self.path / "metrics", ignore_errors=True)
        (self.path / "metrics").mkdir(mode=0o700)
        seats.lay_out(self.seats)
        own_port.lay_out(self.own_port)
        self.keep(())

    def environment(self, generation: int, groups: Sequence[str]) -> dict[str, str]:
        """What the processes of a generation are told by their environment.

        Each generation has an OpenSSL configuration of its own: one of an older generation that is
        started again goes by its own.
        """
        path = self.path / f"openssl-{generation}.cnf"
        path.write_text(tls.openssl_configuration(groups), encoding="ascii")
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
                path.unlink()
