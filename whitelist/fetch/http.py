"""A bounded HTTP client: GET over HTTPS with given authorities alone, GET and POST over plain HTTP.

Adapter; synchronous, for a thread.  The real host of the white list presents an IGC-Santé
certificate, so TLS knows only the given anchors (DOMAIN §2.1, §9.1).  Plain HTTP is for answers
that carry a signature of their own: CRLs and OCSP.  Whatever the server does, a request ends: every
wait, the whole and the size are bounded.  Nothing is verified here but the server of HTTPS.  Every
failure is a `FetchFailed`; each reader turns it into an error of its own.
"""

import http.client
import io
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from whitelist.errors import FetchFailed

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a server said to recognise a version by (RFC 9110 §8.8), to be sent back as it came."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The octets as served.

    Use `conditions` for the next request only once the octets were taken: with the conditions of
    octets that were refused, the server would answer "not modified" about those.
    """

    data: bytes
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server still has the version that the conditions stand for."""


def client_context(trust_pem: str) -> ssl.SSLContext:
    """Make the TLS context that trusts the authorities in `trust_pem`, and no other.

    TLS 1.2 or later, host name checked; `TrustStore.pem` gives the text. Raises ValueError or
    ssl.SSLError where it holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=trust_pem)
    return context


def fetch(
    url: str,
    *,
    tls: ssl.SSLContext,
    conditions: Conditions,
    timeout: float,
    deadline: float,
    max_bytes: int,
) -> Fetched | NotModified:
    """GET an `https://` URL once, on condition that its content changed.

    `timeout` bounds, in seconds, each wait (connection, handshake, next octets), `deadline` the
    answer as a whole; looking up the host is bounded by the system's resolver. No proxy is used,
    no redirect followed. Raises FetchFailed, naming URL and cause, for any answer but a whole 200
    or an asked for 304, and beyond `max_bytes` octets (`too_large`); ValueError for a context that
    does not check certificate and host name.
    """
    if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
        raise ValueError("the TLS context must check the server's certificate and host name")
    host, port, target = _address(url, "https")
    bounds = _Bounds(timeout, deadline)
    server = http.client.HTTPSConnection(host, port, context=tls)
    with _answer(url, server, bounds, "GET", target, None, _headers(conditions)) as response:
        if response.status == HTTPStatus.NOT_MODIFIED and conditions != Conditions():
            return NotModified()
        return Fetched(_body(url, response, max_bytes), _conditions(response))


def fetch_plain(url: str, *, timeout: float, deadline: float, max_bytes: int) -> bytes:
    """GET an `http://` URL once, for octets with a signature of their own, such as a CRL.

    Bounds and errors as for `fetch`.
    """
    return _ask_plain("GET", url, None, {}, _Bounds(timeout, deadline), max_bytes)


def post_plain(
    url: str,
    body: bytes,
    content_type: str,
    *,
    timeout: float,
    deadline: float,
    max_bytes: int,
) -> bytes:
    """POST a body to an `http://` URL once, such as a question by OCSP (RFC 6960 appendix A).

    The answer carries a signature of its own. Bounds and errors as for `fetch`.
    """
    fields = {"Content-Type": content_type}
    return _ask_plain("POST", url, body, fields, _Bounds(timeout, deadline), max_bytes)


def retry_delays(
    attempts: int, first: float, longest: float, randomness: Callable[[], float]
) -> tuple[float, ...]:
    """Give the seconds to wait before the second of `attempts` attempts, the third, and so on.

    They double from `first` up to `longest`; of each, `randomness()` in [0, 1) takes off up to a
    half, so that operators that failed together do not come back together. Pure.
    """
    delays, delay = [], min(first, longest)
    for _ in range(attempts - 1):
        delays.append(delay * (1 - randomness() / 2))
        delay = min(delay * 2, longest)
    return tuple(delays)


class _Bounds:
    """How long one wait may take, and the monotonic time at which all must be over."""

    def __init__(self, timeout: float, deadline: float) -> None:
        self.timeout = timeout
        self.deadline = deadline
        self._end = time.monotonic() + deadline

    @property
    def wait(self) -> float:
        """Seconds for the next wait.  Raises TimeoutError when all must be over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(self.timeout, left)


class _Bounded(io.RawIOBase):
    """What a socket receives, within bounds: a server that drips octets must not go on for ever."""

    def __init__(self, raw: io.RawIOBase, sock: "socket.socket", bounds: _Bounds) -> None:
        self._raw = raw
        self._sock = sock
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(self._bounds.wait)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read within bounds, its status line and header fields included."""

    def __init__(self, sock: "socket.socket", bounds: _Bounds, method: str) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock, bounds))


def _ask_plain(
    method: str,
    url: str,
    body: bytes | None,
    fields: dict[str, str],
    bounds: _Bounds,
    max_bytes: int,
) -> bytes:
    host, port, target = _address(url, "http")
    server = http.client.HTTPConnection(host, port)
    headers = _headers(Conditions()) | fields
    with _answer(url, server, bounds, method, target, body, headers) as response:
        return _body(url, response, max_bytes)


@contextmanager
def _answer(
    url: str,
    server: http.client.HTTPConnection,
    bounds: _Bounds,
    method: str,
    target: str,
    body: bytes | None,
    headers: dict[str, str],
) -> Iterator[_Response]:
    """Send a request, and give the answer, its body still to be read, until the block ends.

    Raises FetchFailed for each failure of server and network, also within the block.
    """
    try:
        server.timeout = bounds.wait
        with closing(server):
            server.request(method, target, body, headers)
            with _Response(server.sock, bounds, method) as response:
                response.begin()
                yield response
    except TimeoutError as error:
        cause = f"no answer for {bounds.timeout:g} s, or no end of it within {bounds.deadline:g} s"
        raise _failed(url, cause) from error
    except ssl.SSLCertVerificationError as error:
        cause = f"its certificate is not trusted ({error.verify_message}); check the anchors"
        raise _failed(url, cause) from error
    except UnicodeError as error:  # its words differ from one Python to the next
        raise _failed(url, f"{server.host} cannot be a host name") from error
    except (OSError, http.client.HTTPException) as error:
        raise _failed(url, repr(error)) from error


def _body(url: str, response: _Response, max_bytes: int) -> bytes:
    """Read the body of a 200, whole."""
    match response.status:
        case 200:
            pass
        case 301 | 302 | 303 | 307 | 308:
            where = (response.getheader("Location") or "")[:200]
            raise _failed(
                url, f"redirects to {where!r}, which is not followed; configure the final URL"
            )
        case status:
            raise _failed(url, f"answers {status} instead of 200; check the URL")
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise _failed(url, "answers in a compressed form that was not asked for")
    announced = response.length
    if announced is not None and announced > max_bytes:
        raise _too_large(url, max_bytes)
    data = bytearray()
    while chunk := response.read1(_CHUNK):
        data += chunk
        if len(data) > max_bytes:
            raise _too_large(url, max_bytes)
    if announced is not None and len(data) < announced:
        raise _failed(url, f"breaks off after {len(data)} of {announced} octets; try again")
    return bytes(data)


def _headers(conditions: Conditions) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "mssante"}
    if conditions.etag is not None:
        headers["If-None-Match"] = conditions.etag
    if conditions.last_modified is not None:
        headers["If-Modified-Since"] = conditions.last_modified
    return headers


def _conditions(response: _Response) -> Conditions:
    """Take what may be sent back as it is: of any server, one short line of ASCII."""

    def kept(name: str) -> str | None:
        value = response.getheader(name)
        fit = value and len(value) <= 200 and value.isascii() and value.isprintable()
        return value if fit else None

    return Conditions(kept("ETag"), kept("Last-Modified"))


def _address(url: str, scheme: str) -> tuple[str, int, str]:
    """Take a URL apart into host, port and request target."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise _failed(repr(url), "not a URL: it holds blanks or other characters to encode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _failed(url, f"not a URL: {error}") from error
    if parts.username is not None:
        raise _failed(
            f"{parts.scheme}://{parts.hostname}",
            "the URL holds a user name, which is not supported",
        )
    if parts.scheme != scheme or not parts.hostname:
        why = "; it is fetched by TLS only" if scheme == "https" else ""
        raise _failed(url, f"not an {scheme}:// URL with a host{why}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    default = 443 if scheme == "https" else 80
    return parts.hostname, default if port is None else port, target


def _failed(url: str, cause: str) -> FetchFailed:
    return FetchFailed(f"{url}: {cause}")


def _too_large(url: str, max_bytes: int) -> FetchFailed:
    return FetchFailed(f"{url}: more than {max_bytes} octets", too_large=True)
