"""A bucket of an S3-compatible store, by `obstore`: put, list, read a range, delete.

Only calls that every such store has are used, and no object is ever overwritten. An object exists
whole, once the store has confirmed it, or not at all; a failed multipart upload is aborted. Each
request has a deadline and few retries, so that an unreachable store soon raises StoreUnavailable.
Error texts of the store may quote credentials: only their code is repeated.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from mailstore.errors import NotFound, StoreRefuses, StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

PART: Final = 5 * 1024 * 1024  # octets; larger uploads have parts of this size, S3's minimum
_PARTS_AT_ONCE: Final = 2  # of an upload; each is in memory meanwhile
_PAGE: Final = 1000  # objects per answer of S3's list

_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
# S3's codes for a wrong region, and the library's texts where there is no redirection to follow.
_REGION = re.compile(
    "AuthorizationHeaderMalformed|PermanentRedirect|incorrectly configured region|without LOCATION"
)
_MACHINE = re.compile(r"/latest/(api/token|meta-data/iam)")  # source of a machine's own credentials


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Location of a bucket, and the credentials for it.

    `endpoint` is a URL, '' for AWS's own in the region; `prefix` is a folder in the bucket, '' for
    all of it. Without keys, `obstore` uses the credentials of the environment or the machine.
    `authorities` are trusted certificates in PEM, besides the system's.
    """

    bucket: str
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    authorities: bytes = b""

    def __str__(self) -> str:
        return f"the bucket {self.bucket} at {self.endpoint or f'AWS in {self.region}'}"


@dataclass(frozen=True, slots=True)
class BucketTimeouts:
    """Timeouts in seconds: connection, request, start of retries; and the number of retries."""

    connect: float = 5.0
    request: float = 30.0
    retry: float = 30.0
    retries: int = 3


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: key below the prefix, octets, start of its upload (store's clock)."""

    key: str
    size: int
    uploaded: datetime


class Bucket:
    """A bucket. Thread-safe; no request is made before the first call."""

    def __init__(self, place: BucketPlace, timeouts: BucketTimeouts = BucketTimeouts()) -> None:
        self.place = place
        self._store = S3Store(
            config=_config(place),
            prefix=place.prefix or None,
            client_options=_client(place, timeouts),
            retry_config=_retries(timeouts),
        )

    def put(self, key: str, data: bytes | Path) -> None:
        """Store octets, or a file's, under a new key. Raises StoreUnavailable."""
        with self._asked("write to"):
            parts = isinstance(data, Path) and data.stat().st_size > PART
            try:
                obstore.put(
                    self._store,
                    key,
                    data,
                    use_multipart=parts,
                    chunk_size=PART,
                    max_concurrency=_PARTS_AT_ONCE,
                )
            except FileNotFoundError as error:  # the bucket is missing, not the object
                raise OSError(str(error)) from None

    def list(self, folder: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """All objects of a folder or of the bucket, in order, from the first key after `after`.

        Raises StoreUnavailable.
        """
        pages = obstore.list(self._store, folder or None, offset=after or None, chunk_size=_PAGE)
        last = after
        while True:
            with self._asked("list"):
                page = next(pages, None)
            if page is None:
                return
            for item in page:
                key = item["path"]
                if key < last:
                    # Wrong order would break the merge with other sorted names.
                    raise StoreUnavailable(f"{self.place} does not list its objects in order")
                last = key
                yield ObjectInfo(key, item["size"], item["last_modified"])

    def read(self, key: str, start: int, end: int) -> memoryview:
        """The octets of an object from `start` up to `end`, at least one; fewer at its end.

        Raises NotFound and StoreUnavailable.
        """
        with self._asked("read from"):
            return memoryview(obstore.get_range(self._store, key, start=start, end=end))

    def delete(self, key: str) -> None:
        """Remove an object; no error if it is missing. Raises StoreUnavailable."""
        with self._asked("delete from"):
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                return

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"the object is missing from {self.place}") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreRefuses(f"cannot {what} {self.place}: {_reason(error)}") from None
        except (BaseError, OSError) as error:
            raise StoreUnavailable(f"cannot {what} {self.place}: {_reason(error)}") from None


def _config(place: BucketPlace) -> "S3Config":
    config: S3Config = {
        "bucket": place.bucket,
        "region": place.region,
        # Not every store has the request to delete many objects at once.
        "disable_bulk_delete": True,
    }
    if place.endpoint:
        config["endpoint"] = place.endpoint
    if place.access_key:
        config["access_key_id"] = place.access_key
        config["secret_access_key"] = place.secret_key
    return config


def _client(place: BucketPlace, timeouts: BucketTimeouts) -> "ClientConfig":
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=timeouts.connect),
        "timeout": timedelta(seconds=timeouts.request),
        # The configuration decides whether http is allowed.
        "allow_http": place.endpoint.startswith("http://"),
    }
    if place.authorities:
        client["root_certificate"] = place.authorities
    return client


def _retries(timeouts: BucketTimeouts) -> "RetryConfig":
    return {
        "max_retries": timeouts.retries,
        "retry_timeout": timedelta(seconds=timeouts.retry),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }


def _reason(error: Exception) -> str:
    """Reason of a failed request, without credentials."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # of a local file
    text = str(error)
    if _MACHINE.search(text):
        return "no credentials are given, nor found in the environment or of the machine"
    said = reason_of(text)
    if _REGION.search(text):
        return f"{said or 'redirected'}: the bucket is in another region; set storage.s3.region"
    if said:
        return said
    if "kind: Connect" in text:
        return "no connection"
    if "kind: Timeout" in text:
        return "no answer in time"
    return type(error).__name__


def reason_of(text: str) -> str:
    """HTTP status and S3 code in the text of an error; '' without a status."""
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is None:
        return ""
    return f"{status[1]} {code[1]}" if code is not None else f"HTTP {status[1]}"
