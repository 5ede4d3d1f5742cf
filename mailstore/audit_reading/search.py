"""Search in the audit trail, newest first, page by page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select, tuple_
from sqlalchemy.exc import OperationalError

from mailstore.audit.canonical import writable
from mailstore.db.address_domain import address_domain
from mailstore.db.audit_schema import audit_rows
from mailstore.db.instants import instant, microseconds
from mailstore.errors import MailstoreError

_PLACE: Final = (audit_rows.c.at, audit_rows.c.chain, audit_rows.c.seq)
_TEXTS: Final = ("account", "unix_user", "mailbox", "subject")
_EQUAL: Final = (*_TEXTS, "message", "result", "tenant_id")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row for reading. `facts` as stored, with times in ISO 8601."""

    at: datetime
    chain: int
    seq: int
    event: str
    result: str
    tenant: int | None
    account: str | None
    unix_user: str | None
    door: str
    origin: str | None
    mailbox: str | None
    message: str | None
    subject: str | None
    facts: Mapping[str, Any]

    @property
    def cursor(self) -> str:
        """Place in the order of a search, for the next page."""
        return f"{microseconds(self.at)}.{self.chain}.{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Rows to find; None: any. `since` inclusive, `until` exclusive; `event`: name or its noun.

    `concerns`: login of an account that acts or is acted on (RGPD: a person's own data).
    `domains`: rows about mailboxes at these domains alone.
    """

    account: str | None = None
    unix_user: str | None = None
    mailbox: str | None = None
    message: str | None = None
    subject: str | None = None
    event: str | None = None
    result: str | None = None
    tenant_id: int | None = None
    concerns: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    domains: frozenset[str] | None = None


_ANY: Final = AuditFilter()


def search(
    connection: Connection, wanted: AuditFilter, *, limit: int, after: str | None = None
) -> list[FoundRow]:
    """Find rows, the newest first; `after`: cursor of the last row of the page before.

    ValueError for a malformed cursor; MailstoreError for a row that was tampered with.
    """
    query = _filtered(select(audit_rows), wanted)
    if after is not None:
        query = query.where(tuple_(*_PLACE) < _place_of(after))
    ordered = query.order_by(*(one.desc() for one in _PLACE)).limit(limit)
    if wanted.concerns is None:
        return _read(connection, ordered)
    # Two queries, each by its index: SQLite would read all rows of both to sort them.
    login = writable(wanted.concerns)
    both = {
        one.cursor: one
        for column in (audit_rows.c.account, audit_rows.c.subject)
        for one in _read(connection, ordered.where(column == login))
    }
    newest_first = sorted(both.values(), key=lambda one: (one.at, one.chain, one.seq), reverse=True)
    return newest_first[:limit]


def get_row(
    connection: Connection, chain: int, seq: int, wanted: AuditFilter = _ANY
) -> FoundRow | None:
    """A row by its place; None if there is none, or another than wanted.

    MailstoreError as `search`.
    """
    query = select(audit_rows).where(audit_rows.c.chain == chain).where(audit_rows.c.seq == seq)
    query = _filtered(query, wanted)
    return next(iter(_read(connection, query)), None)


def _place_of(cursor: str) -> tuple[datetime, int, int]:
    at, chain, seq = map(int, cursor.split("."))
    try:
        return instant(at), chain, seq
    except OverflowError:
        raise ValueError("its time is beyond the year 9999") from None


def _read(connection: Connection, query: Select[Any]) -> list[FoundRow]:
    try:
        return [_found(one) for one in connection.execute(query)]
    except (TypeError, ValueError, OverflowError, OperationalError) as error:
        # Values that no writer of ours stores, which SQLite takes for any column.
        if isinstance(error, OperationalError) and connection.dialect.name != "sqlite":
            raise
        raise MailstoreError(
            "a row of the audit trail is malformed, and so none of this page can be shown; "
            "run: mssante audit verify"
        ) from error


def _filtered(query: Select[Any], wanted: AuditFilter) -> Select[Any]:
    for name in _EQUAL:
        value = getattr(wanted, name)
        if value is not None:
            stored = writable(value) if name in _TEXTS else value
            query = query.where(audit_rows.c[name] == stored)
    if wanted.event is not None:
        exact = audit_rows.c.event == wanted.event
        query = query.where(
            exact | audit_rows.c.event.startswith(f"{wanted.event}.", autoescape=True)
        )
    if wanted.since is not None:
        query = query.where(audit_rows.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit_rows.c.at < wanted.until)
    if wanted.domains is not None:
        query = query.where(address_domain(audit_rows.c.mailbox).in_(wanted.domains))
    return query


def _found(row: Row[Any]) -> FoundRow:
    found = row._mapping
    names = [one.name for one in fields(FoundRow) if one.name not in {"tenant", "facts"}]
    return FoundRow(
        **{name: found[name] for name in names},
        tenant=found["tenant_id"],
        facts=json.loads(found["facts"]),
    )
