"""Door in front of a server, which a test can shut, freeze and open; the server itself runs on.

It leads to PostgreSQL by its UNIX socket, or to any server by its port on loopback.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

Dial = Callable[[], socket.socket]


class Outage:
    """Door.  `port`: port for clients.  Each of its three states lasts until the next call."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._listening: socket.socket | None = self._listener
        self._accept(self._listener)

    def refuse(self) -> None:
        """Refuse new connections, and cut all open connections."""
        self._stop_listening()
        self._flows.set()
        self._cut()

    def freeze(self) -> None:
        """Accept and keep connections, but pass no octet."""
        self._flows.clear()

    def mend(self) -> None:
        """Pass everything; frozen connections continue."""
        self._flows.set()
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
            self._accept(self._listening)

    def close(self) -> None:
        """Close the door for good."""
        self.refuse()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None

    def _cut(self) -> None:
        with self._lock:
            held, self._open = self._open, set()
        for one in held:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        def run() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client:
            try:
                server = self._dial()
            except OSError:
                return
            with server:
                with self._lock:
                    self._open |= {client, server}
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while octets := source.recv(65_536):
                self._flows.wait()
                sink.sendall(octets)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def of_postgres(url: str) -> tuple[Dial, str, str]:
    """Address of a URL's server, its user, and the database."""
    parsed = make_url(url)
    host = str(parsed.query.get("host") or parsed.host or "127.0.0.1")
    port = parsed.port or int(str(parsed.query.get("port", "5432")))

    def dial() -> socket.socket:
        if host.startswith("/"):
            found = socket.socket(socket.AF_UNIX)
            found.connect(str(Path(host) / f".s.PGSQL.{port}"))
            return found
        return socket.create_connection((host, port))

    return dial, parsed.username or "postgres", str(parsed.database)


@contextmanager
def before_postgres(url: str) -> Iterator[tuple[Outage, str]]:
    """Door in front of a URL's server, and the URL through the door."""
    dial, user, database = of_postgres(url)
    door = Outage(dial)
    try:
        yield door, f"postgresql://{user}@127.0.0.1:{door.port}/{database}"
    finally:
        door.close()


@contextmanager
def before_port(port: int) -> Iterator[Outage]:
    """Door in front of a server on a port of loopback."""
    door = Outage(lambda: socket.create_connection(("127.0.0.1", port)))
    try:
        yield door
    finally:
        door.close()
