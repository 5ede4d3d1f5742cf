"""Keys of the audit trail: a file with a line for each generation, the newest last.

A generation has two secrets: a chain key (256 random bits) that seals rows, chains and totals, and
an Ed25519 key (RFC 8032) that signs anchors. The generation in use is the one that sealed the
database: after a theft a new one is added to the file, the file is copied to all machines, and
`mailstore.audit.rotation` brings it into use everywhere at once.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mailstore.audit.chain import ChainEnds, Totals, chain_form, is_digest, totals_form
from mailstore.errors import InvalidKeys
from mailstore.sealed.key_file import file_lock, file_stamp, read_lines, sync_name, write_text

_OCTETS: Final = 32  # of each secret
_ID_OCTETS: Final = 8
_HEAD: Final = """\
# Keys of the mssante audit trail, the newest last: NAME  MADE  CHAIN-KEY  ANCHOR-KEY.
# All machines of a store have the same file. Keep a copy apart from the database and its backups.
"""


@dataclass(frozen=True, slots=True)
class AuditKey:
    """A generation, its time of creation, and its name: 8 octets of its hash, in hexadecimal."""

    made: datetime
    chain_key: bytes = field(repr=False)
    anchor_key: bytes = field(repr=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(b"mssante audit key" + self.chain_key + self.anchor_key).digest()
        object.__setattr__(self, "name", digest[:_ID_OCTETS].hex())

    def seal_row(self, digest: bytes) -> bytes:
        """Seal of a row with this digest."""
        return self._seal(b"row", digest)

    def seal_chain(self, ends: ChainEnds) -> bytes:
        """Seal of a chain with these ends."""
        return self._seal(b"chain", chain_form(ends))

    def seal_totals(self, totals: Totals) -> bytes:
        """Seal of the numbers of chains and anchors."""
        return self._seal(b"totals", totals_form(totals))

    @property
    def public_key(self) -> bytes:
        """Public half of the anchor key: 32 octets."""
        return self._signer().public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> bytes:
        """Signature of an anchor's statement: 64 octets."""
        return self._signer().sign(statement)

    def signed(self, statement: bytes, signature: bytes) -> bool:
        """True if the signature is by this key."""
        return is_signed(self.public_key, statement, signature)

    def _signer(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.anchor_key)

    def _seal(self, kind: bytes, form: bytes) -> bytes:
        # The kind is of fixed meaning and the separator is not in it: no two inputs are the same.
        return hmac.digest(self.chain_key, kind + b"\x00" + form, "sha256")


class AuditKeys:
    """The generations of a file, oldest first; an age is an index in `all`.

    Raises InvalidKeys for an unusable file at construction; later, an unusable file leaves the
    keys unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = file_stamp(path)
        self.all = read_audit_keys(path)
        sync_name(path)

    @property
    def newest(self) -> AuditKey:
        """The generation that seals a new trail; others change to it by a rotation."""
        return self.all[-1]

    def refresh(self) -> bool:
        """Reload the file if it has changed; costs a stat. Returns True if reloaded."""
        stamp = file_stamp(self.path)
        if stamp == self._seen:
            return False
        try:
            found = read_audit_keys(self.path)
            sync_name(self.path)
        except InvalidKeys:
            return False
        self.all, self._seen = found, stamp
        return True

    def row_age(self, digest: bytes, seal: object) -> int | None:
        """Age of the generation that sealed a row; None if none did."""
        return self._age(seal, lambda key: key.seal_row(digest))

    def chain_age(self, ends: ChainEnds, seal: object) -> int | None:
        """Age of the generation that sealed a chain; None if none did."""
        return self._age(seal, lambda key: key.seal_chain(ends))

    def totals_age(self, totals: Totals, seal: object) -> int | None:
        """Age of the generation that sealed the totals; None if none did."""
        return self._age(seal, lambda key: key.seal_totals(totals))

    def _age(self, seal: object, expected: Callable[[AuditKey], bytes]) -> int | None:
        if not isinstance(seal, bytes) or not is_digest(seal):
            return None
        try:
            while True:
                for age in reversed(range(len(self.all))):
                    if hmac.compare_digest(seal, expected(self.all[age])):
                        return age
                if not self.refresh():  # another process may have brought a new key into use
                    return None
        except ValueError:  # a value that was never sealed
            return None


def is_signed(public_key: bytes, statement: bytes, signature: bytes) -> bool:
    """True if the owner of a public key (32 octets) signed the statement."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_audit_keys(path: Path) -> tuple[AuditKey, ...]:
    """Return all generations of a file, newest last, at least one. Raises InvalidKeys."""
    return tuple(_parse(path, number, line) for number, line in read_lines(path))


def make_key_file(path: Path, now: datetime) -> bool:
    """Make a missing file, with a single generation; return True if made. Raises InvalidKeys."""
    with file_lock(path):
        if path.exists():
            return False
        _write(path, (_new(now),))
        return True


def add_key(path: Path, now: datetime) -> AuditKey:
    """Add a generation; it is not in use yet. Raises InvalidKeys."""
    with file_lock(path):
        key = _new(now)
        _write(path, (*read_audit_keys(path), key))
        return key


def _new(now: datetime) -> AuditKey:
    return AuditKey(now, secrets.token_bytes(_OCTETS), secrets.token_bytes(_OCTETS))


def _parse(path: Path, number: int, line: str) -> AuditKey:
    try:
        name, made, chain_key, anchor_key = line.split()
        key = AuditKey(
            datetime.fromisoformat(made), bytes.fromhex(chain_key), bytes.fromhex(anchor_key)
        )
    except ValueError:
        # The line is a secret: neither it nor the error that may quote it is shown.
        raise InvalidKeys(
            f"{path}: line {number} is not: NAME  MADE  CHAIN-KEY  ANCHOR-KEY"
        ) from None
    if {len(key.chain_key), len(key.anchor_key)} != {_OCTETS} or key.name != name:
        raise InvalidKeys(f"{path}: line {number}: the key is not the one of its name")
    return key


def _write(path: Path, keys: tuple[AuditKey, ...]) -> None:
    lines = (
        f"{key.name}  {key.made.isoformat()}  {key.chain_key.hex()}  {key.anchor_key.hex()}\n"
        for key in keys
    )
    write_text(path, _HEAD + "".join(lines))
