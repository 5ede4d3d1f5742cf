"""Hash chains of the audit trail. Pure.

Each row's digest is SHA-256 over the digest before it and the row's canonical form. The chain key
(`mailstore.audit.keys`) seals a chain's ends: its floor (rows up to it were removed at the end of
their retention) and its head. It also seals the numbers of chains and anchors.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mailstore.audit.canonical import AuditRow, form, row_of
from mailstore.audit.event import AuditEvent

DIGEST_OCTETS: Final = 32
START: Final = bytes(DIGEST_OCTETS)  # the digest before a chain's first row


@dataclass(frozen=True, slots=True)
class ChainEnds:
    """Floor and head of a chain. `begun_at`: microseconds since 1970 in UTC."""

    id: int
    begun_at: int
    floor_seq: int = 0
    floor_digest: bytes = START
    head_seq: int = 0
    head_digest: bytes = START


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of chains and of anchors so far; the newest has that number."""

    chains: int = 0
    anchors: int = 0


@dataclass(frozen=True, slots=True)
class LinkedRow:
    """A row and its digest."""

    row: AuditRow
    digest: bytes


def row_digest(previous: bytes, row: AuditRow) -> bytes:
    """Digest of a row behind another. ValueError as `canonical.form`."""
    return hashlib.sha256(previous + form(row)).digest()


def extend(ends: ChainEnds, events: Sequence[AuditEvent]) -> tuple[ChainEnds, list[LinkedRow]]:
    """Put events behind the head of a chain; returns its new ends and the new rows."""
    linked, digest = [], ends.head_digest
    for seq, event in enumerate(events, ends.head_seq + 1):
        row = row_of(event, ends.id, seq)
        digest = row_digest(digest, row)
        linked.append(LinkedRow(row, digest))
    head = ends.head_seq + len(linked)
    return replace(ends, head_seq=head, head_digest=digest), linked


def chain_form(ends: ChainEnds) -> bytes:
    """Octets under the seal of a chain. ValueError for a value that no writer of ours stores."""
    numbers = _numbers(ends.id, ends.begun_at, ends.floor_seq, ends.head_seq)
    return numbers + _digest(ends.floor_digest) + _digest(ends.head_digest)


def totals_form(totals: Totals) -> bytes:
    """Octets under the seal of the totals. ValueError as `chain_form`."""
    return _numbers(totals.chains, totals.anchors)


def is_digest(octets: object) -> bool:
    """True for octets of a digest's length: a database may hold anything in their place."""
    return isinstance(octets, bytes) and len(octets) == DIGEST_OCTETS


# All parts have a fixed length, so no two values have the same form.


def _numbers(*numbers: int) -> bytes:
    if any(type(one) is not int or one.bit_length() > 63 for one in numbers):
        raise ValueError("a number is malformed")
    return b"".join(one.to_bytes(8, "big", signed=True) for one in numbers)


def _digest(octets: bytes) -> bytes:
    if not is_digest(octets):
        raise ValueError(f"a digest has {DIGEST_OCTETS} octets")
    return octets
