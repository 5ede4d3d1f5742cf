"""Statements that tamper with tables of the audit trail."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    insert,
    select,
    update,
)

from mailstore.db.audit_schema import audit_rows
from tests.support.audit.world import World
from tests.support.clock import NOW

Tampering = Callable[[Connection, World], None]
Row = dict[str, Any]

FLOOR, HEAD = 2, 8  # of each chain in the world; its rows are 3 to 8
LATER: Final = NOW + timedelta(days=1)
ODD: Final = b"\x07" * 32


def at_row(chain: int, seq: int) -> ColumnElement[bool]:
    return and_(audit_rows.c.chain == chain, audit_rows.c.seq == seq)


def get(connection: Connection, table: Table, where: ColumnElement[bool]) -> Row:
    return dict(connection.execute(select(table).where(where)).mappings().one())


def alter(table: Table, where: ColumnElement[bool], **values: Any) -> Tampering:
    def tamper(connection: Connection, _world: World) -> None:
        assert connection.execute(update(table).where(where).values(values)).rowcount

    return tamper


def remove(table: Table, where: ColumnElement[bool]) -> Tampering:
    def tamper(connection: Connection, _world: World) -> None:
        assert connection.execute(delete(table).where(where)).rowcount

    return tamper


def copy(table: Table, where: ColumnElement[bool], **changed: Any) -> Tampering:
    def tamper(connection: Connection, _world: World) -> None:
        connection.execute(insert(table), [get(connection, table, where) | changed])

    return tamper


def exchange(table: Table, keys: tuple[str, ...], first: Any, second: Any) -> Tampering:
    """Exchange all columns but `keys` between two rows."""

    def tamper(connection: Connection, _world: World) -> None:
        one, other = (get(connection, table, where) for where in (first, second))
        for where, source in ((first, other), (second, one)):
            values = {name: value for name, value in source.items() if name not in keys}
            connection.execute(update(table).where(where).values(values))

    return tamper


def together(*parts: Tampering) -> Tampering:
    def tamper(connection: Connection, world: World) -> None:
        for part in parts:
            part(connection, world)

    return tamper


# ---- rows


VALUES: Final[Mapping[str, Any]] = {
    "at": NOW,
    "event": "mailbox.opened",
    "result": "done",
    "tenant_id": 99,
    "account": "dr.z",
    "unix_user": "nobody",
    "door": "web",
    "origin": "192.0.2.9",
    "mailbox": "other@chu.mssante.fr",
    "message": "f" * 32,
    "subject": "dr.z",
    "facts": "{}",
    "digest": ODD,
    "seal": ODD,
}
NULLABLE: Final = (
    *("tenant_id", "account", "unix_user", "origin", "mailbox", "message", "subject"),
)
