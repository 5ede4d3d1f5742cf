"""Helpers for tests of blobs."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.interface import BlobStore
from mailstore.errors import StoreUnavailable
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.compression import Zstd
from mailstore.sealed.draft import Draft
from mailstore.sealed.keyring import Keyring, make_first

MADE = datetime(2026, 1, 1, tzinfo=UTC)


def keyring(folder: Path) -> Keyring:
    """Keyring in a folder, created if missing."""
    path = folder / "keys"
    make_first(path, MADE)
    return Keyring(path)


def _has_zstd() -> bool:
    try:
        Zstd()
    except StoreUnavailable:
        return False
    return True


FORMS = ("plain", "encrypted", *(("zstd", "encrypted-zstd") if _has_zstd() else ()))


def form(name: str, folder: Path) -> BlobFormat:
    """Form of a store by name, with the keys in that folder."""
    keys = keyring(folder) if name.startswith("encrypted") else None
    return BlobFormat(keys, Zstd() if name.endswith("zstd") else None)


def drafted(store: BlobStore, data: bytes) -> Draft:
    """Draft with these octets, named by its content: a test knows the name beforehand.

    Older versions named all bodies so.
    """
    form = store.blob_format
    made = store.draft("" if form.key is None else hashlib.sha256(data).hexdigest())
    made.write(data)
    return made


def content(store: BlobStore, blob: object) -> bytes:
    """Content of a blob, as a reader gets it."""
    with store.open(str(blob)) as file:
        return file.read()


def overwrite(path: Path, octets: bytes) -> None:
    """Overwrite a blob's file, whose mode 0400 allows it only to root."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(octets)
    path.chmod(mode)


def folder(bodies: Bodies) -> Path:
    """Folder of the files of larger bodies."""
    assert isinstance(bodies.blobs, FileBlobStore)
    return bodies.blobs.root


def visible(root: Path) -> list[Path]:
    """Files of all blobs."""
    return [path for path in root.glob("*/*") if path.parent.name != "tmp"]
