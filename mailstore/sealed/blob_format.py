"""Format of a blob: a header, then the content in sealed segments. Pure.

Segments of 64 kB are sealed by STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015) over AES-256-GCM, as in age
and Tink: the nonce is the segment's number and a flag for the last segment, so that no segment can
be removed, moved or added. Each blob has its own key, derived (HKDF, RFC 5869) from a key of the
store and 32 random octets, so that nonces never repeat. A tag in the header binds the blob's name
and both sizes, so that another blob's file, or a part of a file, is recognised before any reading.

    header   magic (8), version (2), algorithm (1), compression (1), key name (8), salt (32),
             octets of the file (8), octets of the content (8), tag (16); integers big-endian
    segment  up to 64 kB, each with its tag (16); if compressed, its stored octets (4) come first

An encrypted blob has a random name: a name from its content would tell which blobs are equal, and
that a known document is among them. Older blobs keep the hash of their content as their name.

Without encryption the segments are plain, and the content is verified by its hash: the blob's name,
or, if the blob was encrypted once, the tag.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailstore.errors import BlobDamaged
from mailstore.sealed.keyring import KEY_OCTETS, Key, Keyring

SEGMENT: Final = 64 * 1024  # octets of content in each segment but the last
TAG: Final = 16
_MAGIC: Final = b"\0MSSBLOB"
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sHBB8s32s")  # known when the first segment is sealed
_SIZES: Final = struct.Struct(">QQ")
HEADER: Final = _HEAD.size + _SIZES.size + TAG
FRAME: Final = struct.Struct(">I")
# More than zstd ever adds to incompressible data.
LONGEST: Final = SEGMENT + 1024 + TAG
_NO_KEY: Final = bytes(8)
_HEADER_NONCE: Final = b"\xff" * 12  # never that of a segment, which ends in 0 or 1
_ONLY: Final = bytes(11) + b"\1"  # nonce of a segment that is the first and the last
_NOT_ITS_HEADER: Final = "its header was altered, or belongs to another blob"


class Codec(Protocol):
    """A compression of single segments."""

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Compress a segment."""

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        """Decompress a segment. Raises ValueError for invalid data, or more than `limit` octets."""


class BlobHeader(NamedTuple):
    """Header of a blob's file; `key_id` is None if it is not encrypted."""

    key_id: bytes | None
    compressed: bool
    salt: bytes
    stored: int  # octets of the file, this header included
    size: int  # octets of the content
    tag: bytes

    @property
    def head(self) -> bytes:
        """The part of the header to which each segment is bound."""
        return _head(self.key_id, self.salt, compressed=self.compressed)

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Parse a header; None for plain content, as stored before headers existed.

        Raises BlobDamaged.
        """
        if not data.startswith(_MAGIC):
            return None
        if len(data) < HEADER:
            raise BlobDamaged("its header is cut short")
        _, version, algorithm, compression, key_id, salt = _HEAD.unpack_from(data)
        if version != _VERSION or algorithm > 1 or compression > 1:
            raise BlobDamaged("its header is of no form that this version reads")
        stored, size = _SIZES.unpack_from(data, _HEAD.size)
        tag = data[HEADER - TAG : HEADER]
        return cls(key_id if algorithm else None, bool(compression), salt, stored, size, tag)


def _head(key_id: bytes | None, salt: bytes, *, compressed: bool) -> bytes:
    return _HEAD.pack(_MAGIC, _VERSION, key_id is not None, compressed, key_id or _NO_KEY, salt)


class _Bound:
    """Common part of both directions: the blob's own key, and the data bound to it."""

    def __init__(self, key: Key | None, salt: bytes, head: bytes) -> None:
        self._head = head
        self._aead = None if key is None else AESGCM(_derive(key, salt))


class SegmentOpener(_Bound):
    """Opens the segments of a blob in order."""

    def __init__(self, key: Key | None, header: BlobHeader, codec: Codec | None) -> None:
        super().__init__(key, header.salt, header.head)
        self._header = header
        self._codec = codec
        self._number = 0

    def check(self, name: str, stored: int) -> None:
        """Check the header against the name and the size of the file. Raises BlobDamaged."""
        header = self._header
        if stored != header.stored:
            raise BlobDamaged(f"its file has {stored} octets, not {header.stored}")
        if self._aead is None:
            return
        bound = header.head + _SIZES.pack(header.stored, header.size) + bytes.fromhex(name)
        try:
            self._aead.decrypt(_HEADER_NONCE, header.tag, bound)
        except InvalidTag:
            raise BlobDamaged(_NOT_ITS_HEADER) from None

    def segment(self, data: bytes, *, last: bool) -> bytes:
        """Open the next segment. Raises BlobDamaged."""
        try:
            if self._aead is not None:
                data = self._aead.decrypt(_nonce(self._number, last=last), data, self._header.head)
            if self._codec is not None:
                data = self._codec.decompress(data, SEGMENT)
        except (InvalidTag, ValueError):
            raise BlobDamaged(f"its segment {self._number} was altered") from None
        self._number += 1
        return data

    def rewind(self) -> None:
        """Start again with the first segment."""
        self._number = 0

    def longest(self) -> int:
        """Octets of a full stored segment, without compression."""
        return SEGMENT + (TAG if self._aead is not None else 0)


def open_whole(stored: bytes, name: str, key: Key, header: BlobHeader) -> bytes:
    """Open an encrypted blob of one segment, not compressed; as `SegmentOpener`, in one step.

    A search opens a hundred thousand. Raises BlobDamaged.
    """
    if len(stored) != header.stored:
        raise BlobDamaged(f"its file has {len(stored)} octets, not {header.stored}")
    aead = AESGCM(_derive(key, header.salt))
    try:
        bound = stored[: HEADER - TAG] + bytes.fromhex(name)
        aead.decrypt(_HEADER_NONCE, header.tag, bound)
    except InvalidTag:
        raise BlobDamaged(_NOT_ITS_HEADER) from None
    try:
        return aead.decrypt(_ONLY, stored[HEADER:], stored[: _HEAD.size])
    except InvalidTag:
        raise BlobDamaged("its segment 0 was altered") from None


class SegmentSealer(_Bound):
    """Seals a blob, from its first segment to its header, which comes last."""

    def __init__(self, key: Key | None, codec: Codec | None) -> None:
        self._key, self._codec, self._salt = key, codec, os.urandom(32)
        key_id = None if key is None else key.id
        super().__init__(key, self._salt, _head(key_id, self._salt, compressed=codec is not None))
        self._number = 0
        self._stored = HEADER

    def segments(self, data: memoryview, *, last: bool) -> list[bytes | memoryview]:
        """Seal the next segments; all are full, except the last of the blob."""
        sealed: list[bytes | memoryview] = []
        if self._aead is None and self._codec is None:
            sealed.append(data)
        else:
            # Empty content has a segment too.
            for start in range(0, max(len(data), last), SEGMENT):
                ends = last and start + SEGMENT >= len(data)
                sealed.append(self._segment(data[start : start + SEGMENT], ends=ends))
        self._stored += sum(map(len, sealed))
        return sealed

    def header(self, name: str, size: int, digest: bytes = b"") -> bytes:
        """The header, once the last segment is sealed and the blob's name is known.

        `digest`: SHA-256 of the content, needed without encryption if it is not the name.
        """
        fields = self._head + _SIZES.pack(self._stored, size)
        if self._aead is None:
            return fields + (bytes(TAG) if digest.hex() in ("", name) else plain_tag(name, digest))
        return fields + self._aead.encrypt(_HEADER_NONCE, b"", fields + bytes.fromhex(name))

    def so_far(self) -> tuple[BlobHeader, SegmentOpener]:
        """Header and opener for the segments sealed so far."""
        header = BlobHeader(
            key_id=None if self._key is None else self._key.id,
            compressed=self._codec is not None,
            salt=self._salt,
            stored=self._stored,
            size=0,
            tag=b"",
        )
        return header, SegmentOpener(self._key, header, self._codec)

    def _segment(self, data: bytes | memoryview, *, ends: bool) -> bytes:
        if self._codec is not None:
            data = self._codec.compress(data)
        if self._aead is not None:
            data = self._aead.encrypt(_nonce(self._number, last=ends), data, self._head)
        self._number += 1
        return bytes(data) if self._codec is None else FRAME.pack(len(data)) + data


@dataclass(frozen=True, slots=True)
class BlobFormat:
    """Form of new blobs; `keys` also open existing blobs.

    New blobs are encrypted with the newest key, if there are keys and `encrypt` is on, and
    compressed by `codec`, if any.
    """

    keys: Keyring | None = None
    codec: Codec | None = None
    encrypt: bool = True

    @property
    def key(self) -> Key | None:
        """The key for new blobs."""
        return self.keys.newest if self.encrypt and self.keys is not None else None

    def sealer(self) -> SegmentSealer:
        """Begin a blob."""
        return SegmentSealer(self.key, self.codec)


def plain_tag(name: str, digest: bytes) -> bytes:
    """Tag of a plain blob whose name is not the SHA-256 of its content, `digest`."""
    return hashlib.sha256(bytes.fromhex(name) + digest).digest()[:TAG]


def lengths(size: int) -> Iterator[int]:
    """Possible octets of the file for content of this size, without compression."""
    yield size  # from before headers existed
    yield HEADER + size
    yield HEADER + size + TAG * max(1, -(-size // SEGMENT))


def _derive(key: Key, salt: bytes) -> bytes:
    return HKDF(SHA256(), KEY_OCTETS, salt, b"mssante blob segments").derive(key.secret)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")
