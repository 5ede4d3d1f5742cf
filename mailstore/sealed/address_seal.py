"""Tokens of patients' addresses and of other texts in columns, under the keys of the store. Pure.

AES-SIV (RFC 5297) under a key derived (HKDF, RFC 5869) from the store's: it needs no nonce, and
equal texts in a column have equal tokens under the same key. So a token is also the keyed hash by
which its row is found, and rows of a sender stay together in the queue. A token is bound to its
column, and an address to its domain.

    `~sealed:`, then in base64url: version (1), key name (8), SIV (16) with ciphertext; `@DOMAIN`
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from foundation.unreadable_text import SEALED, UnreadableText
from mailstore.errors import KeyMissing
from mailstore.sealed.keyring import ID_OCTETS, Key, Keyring

_VERSION: Final = b"\1"
_HEAD: Final = len(_VERSION) + ID_OCTETS
_SIV: Final = 16
_KEY_OCTETS: Final = 64  # AES-256-SIV


class AddressSeal:
    """Seals with the newest of `keys`; without `encrypt` it opens only, and writes texts as is."""

    def __init__(self, keys: Keyring, *, encrypt: bool = True) -> None:
        self.keys = keys
        self.encrypt = encrypt

    def seal(self, text: str, column: str) -> str:
        """Return the token of a text in a column."""
        if not self.encrypt:
            return text
        self.keys.refresh()
        return _token(self.keys.newest, text, column)

    def open(self, token: str, column: str) -> str:
        """Return the text of a token; an `UnreadableText` if no key at hand opens it."""
        coded, at, domain = token.removeprefix(SEALED).partition("@")
        try:
            octets = urlsafe_b64decode(coded)
            head, sealed = octets[:_HEAD], octets[_HEAD:]
            if head[:1] != _VERSION or len(sealed) < _SIV:
                return UnreadableText(token)
            cipher = _cipher(self.keys.get(head[1:]))
            opened = cipher.decrypt(sealed, [head, column.encode(), domain.encode()])
        except (KeyMissing, InvalidTag, binascii.Error, ValueError):
            return UnreadableText(token)
        return opened.decode("utf-8", "surrogatepass") + at + domain

    def tokens(self, text: str, column: str) -> Sequence[str]:
        """Return the tokens of an address under each key, as given, in lower and upper case."""
        self.keys.refresh()
        local, at, domain = text.rpartition("@")
        forms = {local, local.lower(), local.upper()}
        whole = [f"{form}{at}{domain.lower()}" for form in sorted(forms)]
        return [_token(key, one, column) for key in self.keys.all_keys for one in whole]

    def is_newest(self, token: str) -> bool:
        """True if sealing the text anew would change nothing."""
        if not self.encrypt:
            return True
        self.keys.refresh()
        try:
            octets = urlsafe_b64decode(token.removeprefix(SEALED).partition("@")[0])
        except (binascii.Error, ValueError):
            return False
        return octets[len(_VERSION) : _HEAD] == self.keys.newest.id


def _token(key: Key, text: str, column: str) -> str:
    local, at, domain = text.rpartition("@")
    if not (at and _is_domain(domain)):
        local, at, domain = text, "", ""
    head = _VERSION + key.id
    octets = local.encode("utf-8", "surrogatepass")
    sealed = _cipher(key).encrypt(octets, [head, column.encode(), domain.encode()])
    return f"{SEALED}{urlsafe_b64encode(head + sealed).decode('ascii')}{at}{domain}"


def _is_domain(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace(".", "").isalnum()


@lru_cache(maxsize=16)
def _cipher(key: Key) -> AESSIV:
    return AESSIV(HKDF(SHA256(), _KEY_OCTETS, None, b"mssante row addresses").derive(key.secret))
