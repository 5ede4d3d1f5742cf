"""Bounded HTTP client: GET over HTTPS with given authorities only, GET and POST over plain HTTP.

Adapter; synchronous, for a thread. The host of the white list presents an IGC-Santé certificate, so
TLS trusts only the given anchors (DOMAIN §2.1, §9.1). Plain HTTP is for signed answers: CRLs and
OCSP. Each wait, the whole request and the size are bounded, so that a request ends whatever the
server does. Only the HTTPS server is verified here, never the content. Each failure is a
`FetchFailed`; callers turn it into errors of their own.
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
class CacheValidators:
    """A version's validators (RFC 9110 §8.8), as the server sent them and gets them back."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class FetchedData:
    """The octets as served.

    Use `conditions` for the next request only if the octets were accepted. With the conditions of
    refused octets, the server would answer "not modified" about them.
    """

    data: bytes
    conditions: CacheValidators


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server still has the version of the conditions."""


def client_context(trust_pem: str) -> ssl.SSLContext:
    """Make a TLS context that trusts the authorities in `trust_pem` and no others.

    TLS 1.2 or later, host name checked; `TrustStore.pem` gives the text. Raises ValueError or
    ssl.SSLError if the text has no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=trust_pem)
    return context


def fetch(
    url: str,
    *,
    tls: ssl.SSLContext,
    conditions: CacheValidators,
    timeout: float,
    deadline: float,
    max_bytes: int,
) -> FetchedData | NotModified:
    """GET an `https://` URL once, on condition that its content changed.

    `timeout` bounds each wait (connection, handshake, next octets), `deadline` the whole answer,
    both in seconds; the host's look-up is bounded by the system's resolver. No proxy is used, no
    redirect followed. Raises FetchFailed, with URL and cause, for any answer but a whole 200 or a
    requested 304, and beyond `max_bytes` octets (`too_large`); ValueError for a context that does
    not check certificate and host name.
    """
    if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
        raise ValueError("the TLS context must check the server's certificate and host name")
    host, port, target = _address(url, "https")
    bounds = _Bounds(timeout, deadline)
    server = http.client.HTTPSConnection(host, port, context=tls)
    with _answer(url, server, bounds, "GET", target, None, _headers(conditions)) as response:
        if response.status == HTTPStatus.NOT_MODIFIED and conditions != CacheValidators():
            return NotModified()
        return FetchedData(_body(url, response, max_bytes), _conditions(response))


def fetch_plain(url: str, *, timeout: float, deadline: float, max_bytes: int) -> bytes:
    """GET an `http://` URL once, for signed octets such as a CRL.

    Bounds and errors as for `fetch`.
    """
    return _request_plain("GET", url, None, {}, _Bounds(timeout, deadline), max_bytes)


def post_plain(
    url: str,
    body: bytes,
    content_type: str,
    *,
    timeout: float,
    deadline: float,
    max_bytes: int,
) -> bytes:
    """POST a body to an `http://` URL once, such as an OCSP request (RFC 6960 appendix A).

    The answer must be signed. Bounds and errors as for `fetch`.
    """
    fields = {"Content-Type": content_type}
    return _request_plain("POST", url, body, fields, _Bounds(timeout, deadline), max_bytes)


def retry_delays(
    attempts: int, first: float, longest: float, randomness: Callable[[], float]
) -> tuple[float, ...]:
    """Return the seconds to wait before attempt 2, attempt 3 and so on, of `attempts`.

    Delays double from `first` up to `longest`. `randomness()` in [0, 1) shortens each by up to a
    half, so that operators that failed together do not come back together. Pure.
    """
    delays, delay = [], min(first, longest)
    for _ in range(attempts - 1):
        delays.append(delay * (1 - randomness() / 2))
        delay = min(delay * 2, longest)
    return tuple(delays)


class _Bounds:
    """Longest single wait, in seconds, and the monotonic time at which the request must end."""

    def __init__(self, timeout: float, deadline: float) -> None:
        self.timeout = timeout
        self.deadline = deadline
        self._end = time.monotonic() + deadline

    @property
    def wait(self) -> float:
        """Seconds for the next wait. Raises TimeoutError after the end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(self.timeout, left)


class _Bounded(io.RawIOBase):
    """Received octets of a socket, within bounds even for a server that drips them."""

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
    """An answer read within bounds, including its status line and header fields."""

    def __init__(self, sock: "socket.socket", bounds: _Bounds, method: str) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock, bounds))


def _request_plain(
    method: str,
    url: str,
    body: bytes | None,
    fields: dict[str, str],
    bounds: _Bounds,
    max_bytes: int,
) -> bytes:
    host, port, target = _address(url, "http")
    server = http.client.HTTPConnection(host, port)
    headers = _headers(CacheValidators()) | fields
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
    """Send a request; yield the answer, its body unread, until the block ends.

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
    except UnicodeError as error:  # its text differs between Python versions
        raise _failed(url, f"{server.host} cannot be a host name") from error
    except (OSError, http.client.HTTPException) as error:
        raise _failed(url, repr(error)) from error


def _body(url: str, response: _Response, max_bytes: int) -> bytes:
    """Read the whole body of a 200."""
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


def _headers(conditions: CacheValidators) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "mssante"}
    if conditions.etag is not None:
        headers["If-None-Match"] = conditions.etag
    if conditions.last_modified is not None:
        headers["If-Modified-Since"] = conditions.last_modified
    return headers


def _conditions(response: _Response) -> CacheValidators:
    """Return the validators that may be sent back: a short line of printable ASCII each."""

    def kept(name: str) -> str | None:
        value = response.getheader(name)
        fit = value and len(value) <= 200 and value.isascii() and value.isprintable()
        return value if fit else None

    return CacheValidators(kept("ETag"), kept("Last-Modified"))


def _address(url: str, scheme: str) -> tuple[str, int, str]:
    """Split a URL into host, port and request target."""
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
