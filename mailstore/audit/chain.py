"""Hash chains of the audit trail. Pure.

Each row's digest is SHA-256 over the digest before it and the row's canonical form. A chain's ends,
its floor (rows up to it were removed at the end of their retention) and its head, are sealed by the
chain key (`mailstore.audit.keys`), and so is the number of chains.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mailstore.audit.canonical import AuditRow, form, row_of
from mailstore.audit.event import AuditEvent

START: Final = bytes(32)  # the digest before a chain's first row


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
    """What a chain's seal covers: numbers of 8 octets and digests of 32, so it is unambiguous."""
    numbers = (ends.id, ends.begun_at, ends.floor_seq, ends.head_seq)
    return (
        b"".join(one.to_bytes(8, "big", signed=True) for one in numbers)
        + _digest(ends.floor_digest)
        + _digest(ends.head_digest)
    )


def state_form(chains: int) -> bytes:
    """What the seal of the number of chains covers."""
    return chains.to_bytes(8, "big", signed=True)


def _digest(octets: bytes) -> bytes:
    if len(octets) != len(START):
        raise ValueError(f"a digest has {len(START)} octets, not {len(octets)}")
    return octets
