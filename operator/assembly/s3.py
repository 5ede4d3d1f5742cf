"""Store of bodies in an S3 bucket, from [storage.s3]."""

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mailstore.blobs.interface import BlobStore
from mailstore.sealed.blob_format import BlobFormat

from ..settings.model import Settings, SettingsError

if TYPE_CHECKING:
    from mailstore.s3.bucket import BucketPlace


def open_bucket(
    settings: Settings, drafts: Path, form: BlobFormat, clock: Callable[[], datetime], room: int
) -> BlobStore:
    """Blob store in the configured bucket; no request is made yet.

    `drafts`: local folder; `room`: octets of drafts in memory.  Raises SettingsError for unusable
    settings, and StoreUnavailable.
    """
    place = place_of(settings)
    from mailstore.s3.bucket import Bucket  # noqa: PLC0415 - start-up time; obstore is optional
    from mailstore.s3.store import S3BlobStore  # noqa: PLC0415 - start-up time; as above

    return S3BlobStore(Bucket(place), drafts, form, clock, room)


def place_of(settings: Settings) -> "BucketPlace":
    """Configured bucket with its credentials.  Raises SettingsError."""
    try:
        from mailstore.s3.bucket import BucketPlace  # noqa: PLC0415 - start-up time; obstore is optional
    except ImportError as error:
        raise SettingsError(
            f"{settings.origin}: storage.s3: package obstore missing; "
            "run: pip install 'mssante[s3]'"
        ) from error
    section = settings.storage.s3
    return BucketPlace(
        bucket=section.bucket,
        endpoint=section.endpoint.rstrip("/"),
        region=section.region,
        prefix=section.prefix,
        access_key=_credential(settings, "access_key_file", section.access_key_file),
        secret_key=_credential(settings, "secret_key_file", section.secret_key_file),
        authorities=_read(settings, "ca_file", section.ca_file),
    )


def _credential(settings: Settings, key: str, name: str) -> str:
    """Content of a file with mode 0600 or less, one line of ASCII; '' for an empty name."""
    if not name:
        return ""
    path = settings.path(name)
    text = _read(settings, key, name)
    if path.stat().st_mode & 0o077:
        raise SettingsError(
            f"{settings.origin}: storage.s3.{key}: {path}: readable by other users; "
            f"run: chmod 600 {shlex.quote(str(path))}"
        )
    try:
        line = text.decode("ascii").strip()
    except UnicodeDecodeError:
        line = ""
    if not line.isprintable() or not line or " " in line:
        raise SettingsError(
            f"{settings.origin}: storage.s3.{key}: {path}: expected one line of ASCII"
        )
    return line


def _read(settings: Settings, key: str, name: str) -> bytes:
    if not name:
        return b""
    try:
        return settings.path(name).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{settings.origin}: storage.s3.{key}: {settings.path(name)}: {error.strerror}"
        ) from error
