"""Postfix as the reference of `make bench` (outbound): its queue is filled before it sends.

Mail from loopback is relayed with its certificate to one server, whose certificate it verifies.
The system's Postfix is not touched.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.machines.endpoints import free_endpoint
from tests.support.machines.federation import federation
from tests.support.peers.postfix import COMMAND, MASTER, RELAYING, Postfix, started
from tests.support.peers.postfix_baseline import HURRYING, queue_files

# Only this setting lets a TLS connection carry more than one message (TLS_README, "Client-side TLS
# connection reuse"); it is off by default.
_REUSE: Final = "smtp_tls_connection_reuse = yes\n"
_MORE: Final = """\
scache unix - - n - 1 scache
tlsproxy unix - - n - 0 tlsproxy
"""
_MANAGER: Final = next(line for line in MASTER.splitlines(keepends=True) if line[:4] == "qmgr")


@dataclass(frozen=True)
class Relay(Postfix):
    """Postfix that listens on loopback; its queue manager runs only after `release`."""

    services: str = ""

    def incoming(self) -> list[Path]:
        """Accepted messages that the queue manager has not seen yet."""
        return list(queue_files(self.folder, "incoming"))

    def queued(self) -> bool:
        """Whether a message is still in a queue."""
        names = ("incoming", "active", "deferred")
        return any(next(queue_files(self.folder, name), None) is not None for name in names)

    def hold(self) -> None:
        """Run without a queue manager: new mail waits."""
        self._serve(self.services.replace(_MANAGER, ""))

    def release(self) -> None:
        """Start the queue manager."""
        self._serve(self.services)

    def master(self) -> int:
        """Pid of its first process."""
        return int((self.folder / "queue" / "pid" / "master.pid").read_text())

    def _serve(self, services: str) -> None:
        assert COMMAND is not None
        (self.folder / "etc" / "master.cf").write_text(services)
        words = (COMMAND, "-c", str(self.folder / "etc"), "reload")
        subprocess.run(words, check=True, capture_output=True, timeout=60)


@contextmanager
def relay(name: str, port: int, *, reuse: bool) -> Iterator[Relay]:
    """Run Postfix as operator `name`; it relays all mail to a port on loopback."""
    known, endpoint = federation(), free_endpoint()
    services = MASTER.replace("smtp -v", "smtp").format(endpoint=endpoint) + _MORE
    main = RELAYING.replace("SERVERS", "smtp.b.mssante.fr") + HURRYING
    main += f"relayhost = [127.0.0.1]:{port}\n" + (_REUSE if reuse else "")
    hierarchy = known.space.hierarchy
    with started(f"{name}.mssante.fr", known.operators[name], hierarchy, main, services) as folder:
        yield Relay(folder, endpoint, services)
