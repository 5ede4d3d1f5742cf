"""Verification of a chain: each row against the row before it, its seal, and the chain's ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from mailstore.audit.chain import ChainEnds, is_digest, row_digest
from mailstore.audit.keys import AuditKeys
from mailstore.audit.tables import ends_of, stored_row
from mailstore.audit_reading.findings import Checked, Finding, chain_place, row_place, span
from mailstore.audit_reading.reading import PAGE, read_page
from mailstore.db.database import Database


@dataclass(slots=True)
class _Position:
    """Last row checked. `digest`: None if it is not known what the next row follows."""

    seq: int
    digest: bytes | None
    age: int


def check_chain(
    database: Database, keys: AuditKeys, chain: Any, age_in_use: int | None, checked: Checked
) -> Iterator[Finding]:
    """Check a chain as it stands, also while others write. Raises StoreUnavailable.

    `age_in_use`: age of the key that sealed the totals; None if none did.
    """
    checked.chains += 1
    place, position, after = chain_place(chain), None, None
    while True:
        found, rows = read_page(database, chain, after)
        if found is None:
            yield Finding(place, "the chain was removed" + (", its rows are there" * bool(rows)))
            return
        ends = ends_of(found)
        if not _well_formed(ends):
            yield Finding(place, "its floor or head is malformed")
            return
        if position is None:
            age = keys.chain_age(ends, found.seal)
            checked.newest_age = max(age or 0, checked.newest_age)
            yield from _seal_findings(place, age, age_in_use)
            position = _Position(ends.floor_seq, ends.floor_digest, 0)
        elif ends.floor_seq > position.seq:  # the retention has passed meanwhile
            position = _Position(ends.floor_seq, ends.floor_digest, position.age)
        for row in rows:
            checked.add_row()
            yield from _row_findings(keys, row, ends, position)
        if len(rows) < PAGE:
            yield from _end_findings(place, ends, position)
            return
        after = rows[-1].seq


def _seal_findings(place: str, age: int | None, age_in_use: int | None) -> Iterator[Finding]:
    if age is None:
        yield Finding(place, "its seal is wrong: floor, head or seal was changed")
    elif age_in_use is not None and age < age_in_use:
        yield Finding(place, "its seal is by a key that is not in use any more")


def _row_findings(
    keys: AuditKeys, row: Row[Any], ends: ChainEnds, position: _Position
) -> Iterator[Finding]:
    place, seq = row_place(row.chain, row.seq), row.seq
    if type(seq) is not int:
        yield Finding(place, "its number is malformed: the row was inserted")
        return
    if seq <= ends.floor_seq:
        yield Finding(place, "it is from before the floor of the chain: it was inserted")
        return
    if seq > ends.head_seq:
        yield Finding(
            place, "it is behind the head of the chain: inserted, or the head was set back"
        )
    if seq > position.seq + 1:
        missing = span(position.seq + 1, seq - 1)
        yield Finding(chain_place(ends.id), f"{missing} missing")
        position.digest = None
    try:
        whole = position.digest is None or row.digest == row_digest(
            position.digest, stored_row(row)
        )
    except (ValueError, OverflowError) as error:
        yield Finding(place, f"it was changed: {error}")
        whole = True
    if not whole:
        yield Finding(place, "its digest is wrong: the row, or the one before it, was changed")
    age = keys.row_age(row.digest, row.seal) if is_digest(row.digest) else None
    if age is None:
        yield Finding(place, "its seal is wrong: the row was changed or inserted")
    elif age < position.age:
        yield Finding(place, "its seal is by an older key than that of a row before it")
    position.seq, position.age = seq, max(age or 0, position.age)
    position.digest = row.digest if is_digest(row.digest) else None


def _end_findings(place: str, ends: ChainEnds, position: _Position) -> Iterator[Finding]:
    if position.seq < ends.head_seq:
        yield Finding(place, f"{span(position.seq + 1, ends.head_seq)} missing at the end")
    elif position.seq == ends.head_seq and position.digest != ends.head_digest:
        yield Finding(place, "its head is not the digest of its last row")


def _well_formed(ends: ChainEnds) -> bool:
    numbers = (ends.id, ends.begun_at, ends.floor_seq, ends.head_seq)
    return (
        all(type(one) is int for one in numbers)
        and 0 <= ends.floor_seq <= ends.head_seq
        and is_digest(ends.floor_digest)
        and is_digest(ends.head_digest)
    )
