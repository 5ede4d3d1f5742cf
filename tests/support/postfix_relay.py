"""Postfix as the yardstick of mail out: as a site would run it, its queue filled before it sends.

What it is given on loopback it relays to one server, whose certificate it verifies, with its own.
Nothing touches the machine's own Postfix.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.endpoints import free_endpoint
from tests.support.federation import federation
from tests.support.postfix import COMMAND, MASTER, RELAYING, Postfix, started
from tests.support.postfix_baseline import HURRYING, queue_files

# TLS connections serve more than one message only with this (TLS_README, "Client-side TLS
# connection reuse"), which is not how it comes.
_REUSE: Final = "smtp_tls_connection_reuse = yes\n"
_MORE: Final = """\
scache unix - - n - 1 scache
tlsproxy unix - - n - 0 tlsproxy
"""
_MANAGER: Final = next(line for line in MASTER.splitlines(keepends=True) if line[:4] == "qmgr")


@dataclass(frozen=True)
class Relay(Postfix):
    """A Postfix that listens on loopback; its queue manager runs only when it is released."""

    services: str = ""

    def incoming(self) -> list[Path]:
        """What was accepted and is not looked at yet."""
        return list(queue_files(self.folder, "incoming"))

    def queued(self) -> bool:
        """Whether anything is still in a queue."""
        names = ("incoming", "active", "deferred")
        return any(next(queue_files(self.folder, name), None) is not None for name in names)

    def hold(self) -> None:
        """Run without a queue manager: what comes waits."""
        self._serve(self.services.replace(_MANAGER, ""))

    def release(self) -> None:
        """Start the queue manager."""
        self._serve(self.services)

    def master(self) -> int:
        """The number of its first process."""
        return int((self.folder / "queue" / "pid" / "master.pid").read_text())

    def _serve(self, services: str) -> None:
        assert COMMAND is not None
        (self.folder / "etc" / "master.cf").write_text(services)
        words = (COMMAND, "-c", str(self.folder / "etc"), "reload")
        subprocess.run(words, check=True, capture_output=True, timeout=60)


@contextmanager
def relay(name: str, port: int, *, reuse: bool) -> Iterator[Relay]:
    """Run one as operator `name` that relays everything to a port of loopback."""
    known, endpoint = federation(), free_endpoint()
    services = MASTER.replace("smtp -v", "smtp").format(endpoint=endpoint) + _MORE
    main = RELAYING.replace("SERVERS", "smtp.b.mssante.fr") + HURRYING
    main += f"relayhost = [127.0.0.1]:{port}\n" + (_REUSE if reuse else "")
    hierarchy = known.space.hierarchy
    with started(f"{name}.mssante.fr", known.operators[name], hierarchy, main, services) as folder:
        yield Relay(folder, endpoint, services)
