"""Blobs as tests look at them."""

from datetime import UTC, datetime
from pathlib import Path

from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.interface import BlobStore
from mailstore.errors import StoreUnavailable
from mailstore.sealed.blob_format import Form
from mailstore.sealed.compression import Zstd
from mailstore.sealed.keyring import Keyring, make_first

MADE = datetime(2026, 1, 1, tzinfo=UTC)


def keyring(folder: Path) -> Keyring:
    """The keys of a folder, made if there are none."""
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


def form(name: str, folder: Path) -> Form:
    """One of the forms that a store may have, with keys of that folder."""
    keys = keyring(folder) if name.startswith("encrypted") else None
    return Form(keys, Zstd() if name.endswith("zstd") else None)


def content(store: BlobStore, blob: object) -> bytes:
    """All of a blob, as a reader gets it."""
    with store.open(str(blob)) as file:
        return file.read()


def overwrite(path: Path, octets: bytes) -> None:
    """Put something else into a blob's file: its mode 0400 stops everybody but root."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(octets)
    path.chmod(mode)


def folder(bodies: Bodies) -> Path:
    """Where the files of larger bodies are."""
    assert isinstance(bodies.blobs, FileBlobStore)
    return bodies.blobs.root


def visible(root: Path) -> list[Path]:
    """The files of all blobs."""
    return [path for path in root.glob("*/*") if path.parent.name != "tmp"]
