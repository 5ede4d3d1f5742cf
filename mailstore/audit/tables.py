"""Rows of the audit tables as values of the pure modules; times as microseconds.

Times are read as numbers: one that somebody set to nonsense is a finding of `verify`, no error.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Row, type_coerce

from mailstore.audit.canonical import COLUMNS, AuditRow
from mailstore.audit.chain import ChainEnds
from mailstore.db.audit_schema import audit_chains, audit_rows

_NUMBER: Final = BigInteger()

sealed_ends: Final = (
    audit_chains.c.id,
    type_coerce(audit_chains.c.begun_at, _NUMBER).label("begun_at"),
    audit_chains.c.floor_seq,
    audit_chains.c.floor_digest,
    audit_chains.c.head_seq,
    audit_chains.c.head_digest,
    audit_chains.c.seal,
)
sealed_rows: Final = (
    *(
        type_coerce(audit_rows.c.at, _NUMBER).label("at") if name == "at" else audit_rows.c[name]
        for name in COLUMNS
    ),
    audit_rows.c.digest,
    audit_rows.c.seal,
)


def ends_of(found: Row[Any]) -> ChainEnds:
    """Ends of a chain, from a row of `sealed_ends`."""
    return ChainEnds(
        found.id,
        found.begun_at,
        found.floor_seq,
        found.floor_digest,
        found.head_seq,
        found.head_digest,
    )


def stored_row(found: Row[Any]) -> AuditRow:
    """A row without digest and seal, from a row of `sealed_rows`."""
    return AuditRow(*found[: len(COLUMNS)])
