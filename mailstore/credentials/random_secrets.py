"""Random secrets that this program hands out once, and their verifiers. Pure, but for the random.

A verifier is the SHA-256 of the secret, sealed with the store's keys and bound to the row's facts.
With 80 or more random bits no slow hash is needed; the seal makes it a keyed hash: whoever has the
database alone can neither test a guess, nor add a row, nor give one to another account or mailbox.
"""

import base64
import secrets
from hashlib import sha256
from hmac import compare_digest

from mailstore.sealed.keyring import Keyring
from mailstore.sealed.small_values import open_value, seal_value


def random_text(octets: int) -> str:
    """Random octets in lower-case base32 (RFC 4648 §6) without padding: letters and 2 to 7."""
    return base32(secrets.token_bytes(octets))


def base32(octets: bytes) -> str:
    """Lower-case base32 without padding."""
    return base64.b32encode(octets).decode("ascii").rstrip("=").lower()


def grouped(text: str, size: int = 4) -> str:
    """The text in groups with hyphens, to be read aloud and typed."""
    return "-".join(text[start : start + size] for start in range(0, len(text), size))


def ungrouped(text: str) -> str:
    """A typed text without hyphens and blanks, in lower case."""
    return "".join(text.split()).replace("-", "").lower()


def seal_verifier(secret: str, bound: bytes, keys: Keyring) -> bytes:
    """Verifier of a secret, bound to the facts of its row."""
    return seal_value(_digest(secret), bound, keys)


def verifies(secret: str, verifier: bytes, bound: bytes, keys: Keyring) -> bool:
    """Compare a secret with a verifier, in constant time. Raises KeyMissing, SealBroken."""
    return compare_digest(_digest(secret), open_value(verifier, bound, keys))


def _digest(secret: str) -> bytes:
    # Of any text that a client may send, even one that is no Unicode.
    return sha256(b"mssante secret\0" + secret.encode("utf-8", "surrogatepass")).digest()
