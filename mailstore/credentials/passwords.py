"""Passwords that people choose: rules, argon2id, storage.

Parameters are the second recommended choice of RFC 9106 §4: 64 MiB, 3 passes, 4 lanes. A hash
costs a tenth of a second or more, so that few run at once and the others wait: otherwise strangers
who try passwords would take all memory and processors of the machine. A log-in name without a
password costs the same as a wrong password.
"""

import os
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import Connection

from mailstore.accounts.accounts import Account
from mailstore.accounts.endings import CredentialEnded
from mailstore.credentials.credentials import CredentialKind, insert_credential, revoke_kind
from mailstore.errors import InvalidCredential, StoreUnavailable

SHORTEST: Final = 12  # characters
LONGEST: Final = 256
_PATIENCE: Final = 15.0  # seconds that a log-in waits for its turn


def check_password_rules(login: str, password: str) -> None:
    """Refuse a weak new password, or one that nobody could type again. Raises InvalidCredential."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidCredential(
            f"the password has {len(password)} characters; give {SHORTEST} to {LONGEST}, such as a"
            " sentence of several words"
        )
    if not password.isprintable():
        raise InvalidCredential("the password has characters that cannot be seen, or is not UTF-8")
    if login in password.lower() and len(password) - len(login) < SHORTEST:
        raise InvalidCredential(
            "the password is hardly more than the log-in name; give another one"
        )
    if len(set(password)) < SHORTEST // 2:
        raise InvalidCredential("the password repeats few characters; give another one")


class PasswordHashes:
    """Hashing and checking, at most `at_once` at a time in this process. Thread-safe; blocks."""

    def __init__(
        self,
        at_once: int = 2,
        parameters: Parameters = RFC_9106_LOW_MEMORY,
        patience: float = _PATIENCE,
    ) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._patience = patience
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._nobody = _hash_of_nobody(parameters)

    def hash(self, password: str) -> str:
        """Hash a new password. Raises StoreUnavailable if it got no turn."""
        with self._turn():
            return self._hasher.hash(_octets(password))

    def matches(self, password: str, verifier: str | None) -> bool:
        """Compare a password with a stored hash; None has the same cost, and no password matches.

        Raises StoreUnavailable if it got no turn.
        """
        known = self._nobody if verifier is None else verifier
        with self._turn():
            try:
                self._hasher.verify(known, _octets(password))
            except (VerificationError, InvalidHashError):
                return False
        return verifier is not None

    def outdated(self, verifier: str) -> bool:
        """True if a hash has other parameters than new hashes."""
        return self._hasher.check_needs_rehash(verifier)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=self._patience):
            raise StoreUnavailable("too many log-ins by password at once; try again later")
        try:
            yield
        finally:
            self._turns.release()


def _hash_of_nobody(parameters: Parameters) -> str:
    """A hash that is none of any password, which costs as much to compare with."""
    salt, tag = (
        b64encode(os.urandom(size)).rstrip(b"=").decode("ascii")
        for size in (parameters.salt_len, parameters.hash_len)
    )
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v={parameters.version}${costs}${salt}${tag}"


def set_password(
    conn: Connection, account: Account, verifier: str, *, now: datetime
) -> list[CredentialEnded]:
    """Store the hash of a new password in place of the account's present one, which ends."""
    ended = revoke_kind(conn, account, CredentialKind.PASSWORD, now=now)
    insert_credential(
        conn, account, CredentialKind.PASSWORD, "password", verifier.encode(), now=now
    )
    return ended


def _octets(password: str) -> bytes:
    # As RFC 8265 §4.2: one form of each letter. Of any text that a client may send: no password has
    # surrogates, nor more characters than this, even decomposed into four each.
    text = password[: 4 * LONGEST + 1]
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
