"""Subjects of messages for a listing, read from the bodies on request and stored nowhere else."""

from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Final

from mailstore.blobs.interface import BlobStore
from mailstore.errors import NotFound, StoreUnavailable
from relay.smtp.headers import MAX_HEADER

UNREADABLE: Final = "(body cannot be read)"


def read_subject(blobs: BlobStore, blob: str) -> str:
    """Subject of the message in a body; empty without one, UNREADABLE if it cannot be read."""
    try:
        with blobs.open(blob) as body:
            return subject_of(body.read(MAX_HEADER))
    except (NotFound, StoreUnavailable, OSError):
        return UNREADABLE


def subject_of(octets: bytes) -> str:
    """First Subject field in the header, decoded (RFC 2047).  `octets`: start of the message."""
    section = octets.partition(b"\r\n\r\n")[0]
    unfolded = section.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    for field in unfolded.split(b"\r\n"):
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"subject":
            return _decoded(value.decode("utf-8", "replace").strip())
    return ""


def _decoded(text: str) -> str:
    try:
        return str(make_header(decode_header(text)))
    except (
        HeaderParseError,
        ValueError,
        LookupError,
    ):  # invalid encoded words: shown undecoded
        return text
