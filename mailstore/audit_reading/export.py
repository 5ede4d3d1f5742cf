"""Export of the audit trail, so that an outsider can recompute it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from mailstore.audit.tables import sealed_totals
from mailstore.audit_reading.reading import PAGE, read_page
from mailstore.db.audit_schema import audit_anchors, audit_chains, audit_state
from mailstore.db.database import Database
from mailstore.db.instants import microseconds


def export(database: Database) -> Iterator[dict[str, Any]]:
    """Everything of the trail as JSON objects.

    First the totals, then each chain followed by its rows, then the anchors; octets as hexadecimal,
    times as microseconds since 1970 in UTC. Raises StoreUnavailable.
    """
    with database.read() as connection:
        totals = connection.execute(select(*sealed_totals).where(audit_state.c.id == 1)).first()
        chains = connection.scalars(select(audit_chains.c.id).order_by(audit_chains.c.id)).all()
    if totals is not None:
        yield _plain("totals", totals._mapping)
    for chain in chains:
        yield from _chain(database, chain)
    after = 0
    while True:
        query = select(audit_anchors).where(audit_anchors.c.number > after)
        with database.read() as connection:
            found = connection.execute(query.order_by(audit_anchors.c.number).limit(PAGE)).all()
        for one in found:
            yield _plain("anchor", one._mapping)
        if len(found) < PAGE:
            return
        after = found[-1].number


def _chain(database: Database, chain: int) -> Iterator[dict[str, Any]]:
    after, head = None, None
    while True:
        ends, rows = read_page(database, chain, after)
        if ends is None:
            return
        if head is None:
            yield _plain("chain", ends._mapping)
            head = ends.head_seq
        for one in rows:
            if one.seq > head:  # added since
                return
            yield _plain("row", one._mapping)
        if len(rows) < PAGE:
            return
        after = rows[-1].seq


def _plain(kind: str, columns: Mapping[Any, Any]) -> dict[str, Any]:
    return {"kind": kind} | {
        str(name): microseconds(value)
        if isinstance(value, datetime)
        else bytes(value).hex()
        if isinstance(value, bytes)
        else value
        for name, value in columns.items()
    }
