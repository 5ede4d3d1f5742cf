"""Small values sealed for a row of the database, under the keys of the store. Pure.

AES-256-GCM under a key derived (HKDF, RFC 5869) from the store's, with a random nonce: NIST SP
800-38D allows 2^32 values a key. A value is bound to facts that the caller names, such as its
account, so that nobody who has the database alone can alter it or move it to another row.

    version (1), key name (8), nonce (12), sealed value, tag (16)
"""

import os
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailstore.errors import SealBroken
from mailstore.sealed.keyring import ID_OCTETS, KEY_OCTETS, Keyring

_VERSION: Final = b"\1"
_NONCE: Final = 12
_HEAD: Final = len(_VERSION) + ID_OCTETS
_VALUE: Final = _HEAD + _NONCE


def seal_value(value: bytes, bound: bytes, keys: Keyring) -> bytes:
    """Seal a value with the newest key, bound to `bound`."""
    keys.refresh()
    key, nonce = keys.newest, os.urandom(_NONCE)
    head = _VERSION + key.id
    return head + nonce + _cipher(key.secret).encrypt(nonce, value, head + bound)


def open_value(sealed: bytes, bound: bytes, keys: Keyring) -> bytes:
    """Open a sealed value. Raises KeyMissing; SealBroken if it or what it is bound to differs."""
    head = sealed[:_HEAD]
    if head[:1] != _VERSION:
        raise SealBroken("a sealed value is of no form that this version reads")
    cipher = _cipher(keys.get(head[1:]).secret)
    try:
        return cipher.decrypt(sealed[_HEAD:_VALUE], sealed[_VALUE:], head + bound)
    except (InvalidTag, ValueError):
        raise SealBroken("a sealed value was altered, or belongs to another row") from None


def sealing_key(sealed: bytes) -> bytes:
    """Name of the key that sealed a value."""
    return sealed[len(_VERSION) : _HEAD]


# By the secret: the hash of a `Key` costs more than opening a value.
@lru_cache(maxsize=16)
def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_OCTETS, None, b"mssante small values").derive(secret))
