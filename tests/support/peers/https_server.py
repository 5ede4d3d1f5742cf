"""Real HTTPS server on loopback; the test writes each answer.

Its certificates come from a test hierarchy that is valid today, as TLS asks the real clock.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import Lifetime, Subject
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import spare_key
from whitelist.pki.trust_store import TrustStore

Answer = Callable[[BaseHTTPRequestHandler], None]


@cache
def authorities() -> Hierarchy:
    """Hierarchy that clients trust."""
    return Hierarchy.create(datetime.now(UTC))


@cache
def other_authorities() -> Hierarchy:
    """Another hierarchy with the same names, which clients do not trust."""
    return Hierarchy.create(datetime.now(UTC))


@cache
def trust_pem() -> str:
    """Trusted authorities of a client, as PEM text."""
    hierarchy = authorities()
    return TrustStore((hierarchy.root.certificate,), (hierarchy.intermediate.certificate,)).pem


@cache
def host(name: str, issuer: Hierarchy | None = None) -> Credential:
    """Server certificate for this host name."""
    subject = Subject(name, "1750000001", "CHU DE TEST", "Paris (75)")
    lifetime = Lifetime.of_leaf(datetime.now(UTC))
    return (issuer or authorities()).issue_server(subject, [name], lifetime, key=spare_key())


@dataclass
class HttpsServer:
    """Running server: its address, the header fields received, whether it must stop."""

    url: str
    requests: list[Message] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for all connections
    tls: ssl.SSLContext

    def get_request(self) -> tuple[socket, Any]:
        # The connection's own thread makes the handshake.
        connection, address = super().get_request()
        secured = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secured, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors of clients: in many tests the client hangs up."""


@contextmanager
def serving(folder: Path, answer: Answer, credential: Credential) -> Iterator[HttpsServer]:
    """Serve on loopback, with files in `folder`; `answer` writes the answer to each GET."""
    credential.save(folder / "server.pem", folder / "server.key")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            server.requests.append(self.headers)
            answer(self)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with _Listener(("127.0.0.1", 0), Handler) as listener:
        listener.tls = tls
        server = HttpsServer(f"https://localhost:{listener.server_port}/list.xml")
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            listener.shutdown()
            thread.join()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **fields: str) -> None:
    """Send a complete answer; an underscore in a field's name stands for a hyphen."""
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **fields}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
