"""Helpers for tests of the audit trail."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, select

from mailstore.audit.event import AuditActor, AuditEvent, Door
from mailstore.audit.keys import AuditKeys, make_key_file
from mailstore.audit.trail import AuditTrail
from mailstore.db.audit_schema import audit_rows
from mailstore.db.database import Database
from tests.support.clock import NOW

ACTOR = AuditActor(account="dr.a", unix_user="root", door=Door.COMMAND)


def audit_keys(folder: Path) -> AuditKeys:
    """Keys in a folder, made if missing."""
    path = folder / "audit-keys"
    make_key_file(path, NOW)
    return AuditKeys(path)


def event(name: str = "mailbox.closed", *, at: datetime = NOW, **rest: Any) -> AuditEvent:
    """Event of an actor, with the columns and facts that matter to the test."""
    return AuditEvent(**{"at": at, "event": name, "actor": ACTOR, **rest})


def append(database: Database, trail: AuditTrail, *events: AuditEvent) -> None:
    """Append events in a transaction."""
    with database.write() as connection:
        trail.append(connection, events)


def rows(database: Database) -> Sequence[RowMapping]:
    """All rows, by chain and number."""
    query = select(audit_rows).order_by(audit_rows.c.chain, audit_rows.c.seq)
    with database.read() as connection:
        return connection.execute(query).mappings().all()
