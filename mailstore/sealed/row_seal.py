"""Text of a row that must not stand in clear: sealed with the store's keys, found by a keyed hash.

A sealed text is bound to its column and to its mailbox or row, so that nobody who has the database
alone can alter or move it (`mailstore.sealed.small_values`). The same text sealed twice differs; a
keyed hash finds it. Hashes change with the newest key: a search asks for the hash under each key,
until all rows were sealed anew.

A store without encryption keeps the text as it is, after the octet 0, and hashes without a key: its
operator has chosen that.
"""

import hashlib
import hmac
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailstore.errors import SealBroken
from mailstore.sealed.keyring import KEY_OCTETS, Key, Keyring
from mailstore.sealed.small_values import open_value, seal_value, sealing_key

HASH_OCTETS: Final = 16
_CLEAR: Final = b"\0"


class RowSeal:
    """Seals, opens and hashes texts of rows; `keys` is None in a store without encryption."""

    def __init__(self, keys: Keyring | None) -> None:
        self.keys = keys

    def seal(self, text: str, bound: bytes) -> bytes:
        """Seal a text with the newest key, bound to facts of its row."""
        return self.seal_octets(text.encode("utf-8", "surrogatepass"), bound)

    def seal_octets(self, octets: bytes, bound: bytes) -> bytes:
        """Seal octets; see `seal`."""
        if self.keys is None:
            return _CLEAR + octets
        return seal_value(octets, bound, self.keys)

    def open(self, sealed: bytes, bound: bytes) -> str:
        """Open a sealed text. Raises KeyMissing; SealBroken if it or its row was altered."""
        return self.open_octets(sealed, bound).decode("utf-8", "surrogatepass")

    def open_octets(self, sealed: bytes, bound: bytes) -> bytes:
        """Open sealed octets; errors as `open`."""
        if sealed[:1] == _CLEAR:
            return sealed[1:]
        if self.keys is None:
            raise SealBroken("a row is sealed, but the store has no keys; restore its key file")
        return open_value(sealed, bound, self.keys)

    def hash(self, text: str, bound: bytes) -> bytes:
        """Hash of a text under the newest key, of `HASH_OCTETS` octets, for a new row."""
        if self.keys is None:
            return _plain_hash(text, bound)
        self.keys.refresh()
        return _keyed_hash(self.keys.newest, text, bound)

    def hashes(self, text: str, bound: bytes) -> list[bytes]:
        """Hashes of a text under each key, for a search."""
        plain = _plain_hash(text, bound)
        if self.keys is None:
            return [plain]
        self.keys.refresh()
        return [*(_keyed_hash(key, text, bound) for key in self.keys.all_keys), plain]

    def is_newest(self, sealed: bytes) -> bool:
        """True if nothing is to be done for a text: it is sealed with the newest key."""
        if self.keys is None:
            return True
        return sealed[:1] != _CLEAR and sealing_key(sealed) == self.keys.newest.id


def _plain_hash(text: str, bound: bytes) -> bytes:
    octets = bound + b"\0" + text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(octets).digest()[:HASH_OCTETS]


def _keyed_hash(key: Key, text: str, bound: bytes) -> bytes:
    octets = bound + b"\0" + text.encode("utf-8", "surrogatepass")
    return hmac.digest(_hash_key(key), octets, "sha256")[:HASH_OCTETS]


@lru_cache(maxsize=16)
def _hash_key(key: Key) -> bytes:
    return HKDF(SHA256(), KEY_OCTETS, None, b"mssante row hashes").derive(key.secret)
