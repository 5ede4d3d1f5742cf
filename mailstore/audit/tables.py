"""Rows of the audit tables as values of the pure modules.

Columns are read raw: a value that somebody set to nonsense is a finding of `verify`, no error.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Row, type_coerce
from sqlalchemy.types import NullType

from mailstore.audit.canonical import COLUMNS, AuditRow
from mailstore.audit.chain import ChainEnds, Totals
from mailstore.db.audit_schema import audit_chains, audit_rows, audit_state

_RAW: Final = NullType()


def _raw(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return type_coerce(column, _RAW).label(column.name)


sealed_ends: Final = tuple(
    _raw(audit_chains.c[name])
    for name in (
        "id",
        "begun_at",
        "floor_seq",
        "floor_digest",
        "head_seq",
        "head_digest",
        "seal",
    )
)
sealed_rows: Final = tuple(_raw(audit_rows.c[name]) for name in (*COLUMNS, "digest", "seal"))
sealed_totals: Final = tuple(_raw(audit_state.c[name]) for name in ("chains", "anchors", "seal"))


def ends_of(found: Row[Any]) -> ChainEnds:
    """Ends of a chain, from a row that begins with `sealed_ends`."""
    return ChainEnds(*found[: len(sealed_ends) - 1])


def totals_of(found: Row[Any]) -> Totals:
    """Totals, from a row of `sealed_totals`."""
    return Totals(found.chains, found.anchors)


def stored_row(found: Row[Any]) -> AuditRow:
    """A row without digest and seal, from a row of `sealed_rows`."""
    return AuditRow(*found[: len(COLUMNS)])
