"""A real HTTPS server on loopback whose every answer a test writes.

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
from tests.support.hierarchy import spare_key
from whitelist.pki.trust_store import TrustStore

Answer = Callable[[BaseHTTPRequestHandler], None]


@cache
def authorities() -> Hierarchy:
    """The hierarchy that clients are told to trust."""
    return Hierarchy.create(datetime.now(UTC))


@cache
def other_authorities() -> Hierarchy:
    """Another of the same names, which they are not."""
    return Hierarchy.create(datetime.now(UTC))


@cache
def trust_pem() -> str:
    """What a client trusts, as PEM text."""
    hierarchy = authorities()
    return TrustStore((hierarchy.root.certificate,), (hierarchy.intermediate.certificate,)).pem


@cache
def host(name: str, issuer: Hierarchy | None = None) -> Credential:
    """A server certificate for this host name."""
    subject = Subject(name, "1750000001", "CHU DE TEST", "Paris (75)")
    lifetime = Lifetime.of_leaf(datetime.now(UTC))
    return (issuer or authorities()).issue_server(subject, [name], lifetime, key=spare_key())


@dataclass
class HttpsServer:
    """A running server: where it is, the header fields it got, and whether it is to end."""

    url: str
    requests: list[Message] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for every conversation
    tls: ssl.SSLContext

    def get_request(self) -> tuple[socket, Any]:
        # The handshake is for the conversation's own thread.
        connection, address = super().get_request()
        secured = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secured, address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what many a test is about."""


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
            """Keep standard error for what matters."""

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
    """Answer whole; an underscore in the name of a field stands for its hyphen."""
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **fields}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
