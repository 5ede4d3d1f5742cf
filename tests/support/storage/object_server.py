"""Real S3 server on loopback in its own process: moto, which keeps objects in memory.

A wrapper records requests, can let requests fail, and can make objects older.
`python -m tests.support.storage.object_server PORT` runs the process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from mailstore.s3.bucket import BucketPlace

CHECKOUT = Path(__file__).parents[3]
_buckets = count(1)


@dataclass
class ObjectServer:
    """Server process: can be killed, stopped, and started again, empty, on the same port."""

    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the server; wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.storage.object_server", str(self.port)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """Send SIGKILL; all objects are lost."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """During the block the server accepts connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def place(self, bucket: str = "", prefix: str = "") -> BucketPlace:
        """Bucket with its credentials; a new bucket unless named."""
        if not bucket:
            bucket = f"bodies-{os.getpid()}-{next(_buckets)}"
            self.make(bucket)
        return BucketPlace(bucket, self.endpoint, "eu-west-3", prefix, "key-id", "key-secret")

    def configure(self, bucket: str, what: str, xml: str) -> None:
        """Set `versioning`, `lifecycle` or `object-lock` of a bucket."""
        self._ask("PUT", f"/{bucket}?{what}", xml.encode())

    def make(self, bucket: str) -> None:
        """Create a bucket."""
        self._ask("PUT", f"/{bucket}")

    def fail(
        self,
        status: int,
        method: str,
        words: str = "",
        times: int = 1000,
        code: str = "TestFault",
    ) -> None:
        """Fix the answer to the next requests with this method and these words in path or query."""
        self._ask(
            "POST",
            f"/_fail?status={status}&method={method}&words={words}&times={times}&code={code}",
        )

    def age(self, by: timedelta, words: str = "") -> None:
        """Make objects older whose key has these words."""
        self._ask("POST", f"/_age?seconds={by.total_seconds():.0f}&words={words}")

    def asked(self) -> list[tuple[str, str]]:
        """Method, path with query, and range of each request since the last call."""
        return [(method, path) for method, path in json.loads(self._ask("POST", "/_asked"))]

    def uploads(self, bucket: str) -> int:
        """Number of multipart uploads that are neither completed nor aborted."""
        return self._ask("GET", f"/{bucket}?uploads").count(b"<Upload>")

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
            return said


@contextmanager
def object_server_running() -> Iterator[ObjectServer]:
    """New server, for tests that kill it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = ObjectServer(port)
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """Server for all tests of this process; each test has its own buckets."""
    with object_server_running() as server:
        yield server


Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class _Around:
    """WSGI application of the process: moto with the wrapper."""

    def __init__(self) -> None:
        # Imported only in this process: the import is slow.
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - start-up time of all other processes
            DomainDispatcherApplication,
            create_backend_app,
        )
        from moto.s3.models import s3_backends  # noqa: PLC0415 - start-up time of all other processes

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._backends = s3_backends
        self._lock = threading.Lock()
        self._asked: list[tuple[str, str]] = []
        self._fault: dict[str, str] = {}
        self._times = 0

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        given = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
        match path:
            case "/_asked":
                with self._lock:
                    noted, self._asked = self._asked, []
                return self._answer(start, json.dumps(noted).encode())
            case "/_fail":
                with self._lock:
                    self._fault, self._times = given, int(given["times"])
                return self._answer(start)
            case "/_age":
                self._age(timedelta(seconds=int(given["seconds"])), given.get("words", ""))
                return self._answer(start)
        whole = f"{path}?{environ['QUERY_STRING']}"
        with self._lock:
            self._asked.append((method, f"{whole}{environ.get('HTTP_RANGE', '')}"))
            fault = self._fault if self._times > 0 else {}
            hit = fault.get("method") == method and fault.get("words", "") in whole
            self._times -= hit
        if hit:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            code = f"<Code>{fault['code']}</Code>"
            quoted = f"<Error>{code}<AWSAccessKeyId>key-id</AWSAccessKeyId></Error>".encode()
            return self._answer(start, quoted, f"{fault['status']} Fault")
        answer: Iterable[bytes] = self._moto(environ, start)
        return answer

    def _age(self, by: timedelta, words: str) -> None:
        for account in self._backends.values():
            for backend in account.values():
                for bucket in backend.buckets.values():
                    for key in bucket.keys.values():
                        if words in key.name:
                            key.last_modified -= by

    @staticmethod
    def _answer(start: StartResponse, body: bytes = b"", status: str = "200 OK") -> Iterable[bytes]:
        start(status, [("Content-Length", str(len(body))), ("Content-Type", "application/xml")])
        return [body]


def main(port: int) -> None:
    """Run the server until killed."""
    from werkzeug.serving import make_server  # noqa: PLC0415 - as above

    server = make_server("127.0.0.1", port, _Around(), threaded=True)
    sys.stdout.write("ready\n")  # the server listens
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
