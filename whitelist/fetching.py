"""Getting the octets of a white list over HTTPS, and of what signs itself over HTTP.

Adapter; synchronous, for a thread. The real host presents an IGC-Santé certificate, so TLS knows
only the given anchors (DOMAIN §2.1, §9.1). Whatever the server does, a request ends: every wait,
the whole and the size are bounded. Nothing here is believed: `whitelist.loading` verifies the
octets. Every failure is a `ListRefused`, and the list in force stays.
"""

import http.client
import io
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from whitelist.errors import ListRefused, Reason

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
    """A list as served.

    Use `conditions` for the next request only once this list was adopted: with those of a list
    that was refused, the server would answer "not modified" about that one.
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
    """Ask once for the list at an `https://` URL, on condition that it changed.

    `timeout` bounds, in seconds, each wait (connection, handshake, next octets), `deadline` the
    answer as a whole; looking up the host is bounded by the system's resolver. No proxy is used,
    no redirect followed. Raises ListRefused(unreachable), naming URL and cause, for any answer but
    a whole 200 or an asked for 304; ListRefused(too-large) beyond `max_bytes` octets; ValueError
    for a context that does not check certificate and host name.
    """
    if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
        raise ValueError("the TLS context must check the server's certificate and host name")
    host, port, target = _address(url)
    limits = _Limits(timeout, time.monotonic() + deadline)
    wait = min(timeout, deadline)
    try:
        with closing(http.client.HTTPSConnection(host, port, timeout=wait, context=tls)) as server:
            server.request("GET", target, headers=_headers(conditions))
            with _Response(server.sock, limits) as response:
                response.begin()
                return _outcome(url, response, conditions, max_bytes)
    except TimeoutError as error:
        cause = f"no answer for {timeout:g} s, or no end of it within {deadline:g} s"
        raise _unreachable(url, cause) from error
    except ssl.SSLCertVerificationError as error:
        cause = f"its certificate is not trusted ({error.verify_message}); check the anchors"
        raise _unreachable(url, cause) from error
    except UnicodeError as error:  # its words differ from one Python to the next
        raise _unreachable(url, f"{host} cannot be a host name") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, repr(error)) from error


def fetch_plain(url: str, *, timeout: float, deadline: float, max_bytes: int) -> bytes:
    """Ask once, at an `http://` URL, for what carries a signature of its own, such as a CRL.

    Bounds and errors as for `fetch`.
    """
    return _ask_plain("GET", url, None, _headers(Conditions()), timeout, deadline, max_bytes)


def post_plain(
    url: str,
    body: bytes,
    content_type: str,
    *,
    timeout: float,
    deadline: float,
    max_bytes: int,
) -> bytes:
    """Ask once, at an `http://` URL, what takes a body, such as OCSP (RFC 6960 appendix A).

    The answer carries a signature of its own. Bounds and errors as for `fetch`.
    """
    headers = _headers(Conditions()) | {"Content-Type": content_type}
    return _ask_plain("POST", url, body, headers, timeout, deadline, max_bytes)


def _ask_plain(
    method: str,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout: float,
    deadline: float,
    max_bytes: int,
) -> bytes:
    host, port, target = _address(url, "http")
    limits = _Limits(timeout, time.monotonic() + deadline)
    wait = min(timeout, deadline)
    try:
        with closing(http.client.HTTPConnection(host, port, timeout=wait)) as server:
            server.request(method, target, body, headers)
            with _Response(server.sock, limits) as response:
                response.begin()
                answer = _outcome(url, response, Conditions(), max_bytes)
    except TimeoutError as error:
        cause = f"no answer for {timeout:g} s, or no end of it within {deadline:g} s"
        raise _unreachable(url, cause) from error
    except UnicodeError as error:  # its words differ from one Python to the next
        raise _unreachable(url, f"{host} cannot be a host name") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, repr(error)) from error
    if isinstance(answer, NotModified):
        raise _unreachable(url, "it says 304 to a request without conditions")
    return answer.data


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


@dataclass(frozen=True, slots=True)
class _Limits:
    """Seconds that one wait may take, and the monotonic time at which all must be over."""

    timeout: float
    end: float


class _Bounded(io.RawIOBase):
    """What a socket receives, within limits: a server that drips octets must not go on for ever."""

    def __init__(self, raw: io.RawIOBase, sock: "socket.socket", limits: _Limits) -> None:
        self._raw = raw
        self._sock = sock
        self._limits = limits

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        left = self._limits.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(self._limits.timeout, left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read within limits, its status line and header fields included."""

    def __init__(self, sock: "socket.socket", limits: _Limits) -> None:
        super().__init__(sock, method="GET")
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock, limits))


def _outcome(
    url: str, response: _Response, conditions: Conditions, max_bytes: int
) -> Fetched | NotModified:
    match response.status:
        case 200:
            return Fetched(_body(url, response, max_bytes), _conditions(response))
        case 304 if conditions != Conditions():
            return NotModified()
        case 301 | 302 | 303 | 307 | 308:
            where = (response.getheader("Location") or "")[:200]
            raise _unreachable(
                url,
                f"redirects to {where!r}, which is not followed; configure the URL of the list",
            )
        case status:
            raise _unreachable(url, f"answers {status} instead of 200; check the URL")


def _body(url: str, response: _Response, max_bytes: int) -> bytes:
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise _unreachable(url, "answers in a compressed form that was not asked for")
    announced = response.length
    if announced is not None and announced > max_bytes:
        raise _too_large(url, max_bytes)
    data = bytearray()
    while chunk := response.read1(_CHUNK):
        data += chunk
        if len(data) > max_bytes:
            raise _too_large(url, max_bytes)
    if announced is not None and len(data) < announced:
        raise _unreachable(url, f"breaks off after {len(data)} of {announced} octets; try again")
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


def _address(url: str, scheme: str = "https") -> tuple[str, int, str]:
    """Take a URL apart into host, port and request target."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise _unreachable(repr(url), "not a URL: it holds blanks or other characters to encode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _unreachable(url, f"not a URL: {error}") from error
    if parts.username is not None:
        raise _unreachable(
            f"https://{parts.hostname}", "the URL holds a user name, which is not supported"
        )
    if parts.scheme != scheme or not parts.hostname:
        why = "; the list is fetched by TLS only" if scheme == "https" else ""
        raise _unreachable(url, f"not an {scheme}:// URL with a host{why}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    default = 443 if scheme == "https" else 80
    return parts.hostname, default if port is None else port, target


def _unreachable(url: str, cause: str) -> ListRefused:
    return ListRefused(Reason.UNREACHABLE, f"{url}: {cause}")


def _too_large(where: str, max_bytes: int) -> ListRefused:
    return ListRefused(
        Reason.TOO_LARGE, f"{where}: more than {max_bytes} octets; is it the white list?"
    )
