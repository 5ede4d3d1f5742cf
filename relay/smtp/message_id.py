"""Digest of a Message-ID, by which the trace journal is searched.  Pure.

A program may put anything into a Message-ID, even a patient's identifier: the journal has a digest.
"""

from hashlib import sha256
from typing import Final

_DIGITS: Final = 32  # the form of our identifiers, which no mask for patients touches


def message_id_digest(text: bytes) -> str:
    """Digest of a Message-ID (RFC 5322 §3.6.4), with or without its brackets; '' without one.

    32 hexadecimal digits of SHA-256 over all between the brackets.
    """
    _, bracket, rest = text.partition(b"<")
    plain = (rest.partition(b">")[0] if bracket else text).strip()
    return sha256(plain).hexdigest()[:_DIGITS] if plain else ""
