"""Requests to an S3 store that its library lacks: the settings of a bucket, by plain HTTP.

Answers are short; a request is made once, with a deadline; redirects are not followed.
"""

import http.client
import os
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from mailstore.errors import StoreUnavailable
from mailstore.s3.bucket import BucketPlace, reason_of
from mailstore.s3.signing import Credentials, signed, target

_MAX_OCTETS: Final = 1024 * 1024  # octets of an answer
_SECONDS: Final = 10.0  # timeout for the connection, and for each piece of an answer


@dataclass(frozen=True, slots=True)
class S3Response:
    """The status of an answer and its body, in S3's XML."""

    status: int
    body: bytes

    @property
    def problem(self) -> str:
        """Status and S3 code of an error, without credentials."""
        text = f"status code: {self.status} {self.body[:2000].decode('utf-8', 'replace')}"
        return reason_of(text) or f"HTTP {self.status}"


def credentials_of(place: BucketPlace) -> Credentials | None:
    """Credentials of the place or of the environment; None if the machine has its own."""
    if place.access_key:
        return Credentials(place.access_key, place.secret_key)
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    return Credentials(access, secret, os.environ.get("AWS_SESSION_TOKEN", ""))


def request_settings(
    place: BucketPlace,
    credentials: Credentials,
    now: datetime,
    query: Mapping[str, str],
    *,
    method: str = "GET",
    key: str = "",
) -> S3Response:
    """Make a request about the bucket, or with `key` an object. Raises StoreUnavailable."""
    url = urlsplit(place.endpoint or f"https://s3.{place.region}.amazonaws.com")
    folder = "".join(f"/{part}" for part in (place.prefix, key) if part) if key else ""
    path = f"/{place.bucket}{folder}"
    fields = signed(method, url.netloc, path, query, place.region, credentials, now)
    try:
        with closing(_connection(place, url.scheme, url.hostname or "", url.port)) as server:
            server.request(method, target(path, query), headers=fields)
            answer = server.getresponse()
            return S3Response(answer.status, answer.read(_MAX_OCTETS))
    except (OSError, http.client.HTTPException) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else ""
        why = said or type(error).__name__
        raise StoreUnavailable(f"cannot ask {place}: {why}") from None


def _connection(
    place: BucketPlace, scheme: str, host: str, port: int | None
) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)
    context = ssl.create_default_context()
    if place.authorities:
        context.load_verify_locations(cadata=place.authorities.decode("ascii", "replace"))
    return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)
