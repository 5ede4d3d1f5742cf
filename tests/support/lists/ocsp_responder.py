"""OCSP responder on loopback: real HTTP, answers signed as the test wants, requests counted."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from mssante_operator.setup.testbed.credential import Credential

_DAY = timedelta(days=1)


def ocsp_answer(
    about: x509.Certificate,
    issuer: x509.Certificate,
    signer: Credential,
    now: datetime,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    brought: x509.Certificate | None = None,
) -> bytes:
    """OCSP answer as DER; by default one day old at `now`, without nextUpdate."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    built = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about,
            issuer=issuer,
            algorithm=algorithm or hashes.SHA256(),
            cert_status=status,
            this_update=this_update or now - _DAY,
            next_update=next_update,
            revocation_time=now - 2 * _DAY if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, signer.certificate)
        .certificates([brought or signer.certificate])
        .sign(signer.key, hashes.SHA256())
    )
    return built.public_bytes(Encoding.DER)


@dataclass
class Responder:
    """Running responder.

    `answer`: makes the answer to a request, None for 503.  `questions`: requests received.
    Answers are sent only while `open` is set.
    """

    url: str
    answer: Callable[[], bytes | None] = lambda: None
    questions: list[ocsp.OCSPRequest] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)


@contextmanager
def responding() -> Iterator[Responder]:
    """Run a responder on loopback, open from the start; at the end wait for open connections."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/ocsp-request"
            responder.questions.append(ocsp.load_der_ocsp_request(question))
            responder.open.wait(20)
            body = responder.answer()
            self.send_response(503 if body is None else 200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        responder = Responder(f"http://127.0.0.1:{server.server_port}/ocsp")
        responder.open.set()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield responder
        finally:
            responder.open.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for all connections

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors of clients: in some tests the client does not wait for the answer."""
