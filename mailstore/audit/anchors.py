"""Anchors in the database: made when a head has moved, sent to places off the machine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from mailstore.audit.keys import AuditKeys
from mailstore.audit.locking import lock_totals, write_totals
from mailstore.audit.statement import (
    Heads,
    MalformedAnchor,
    SignedStatement,
    Statement,
    first_before,
    parse_statement,
    text_digest,
)
from mailstore.audit.tables import ends_of, sealed_ends
from mailstore.db.audit_schema import audit_anchors
from mailstore.db.instants import microseconds


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """An anchor of the database, and the places that have it."""

    number: int
    at: datetime
    statement: str
    signature: bytes
    sent_to: tuple[str, ...]

    def signed(self, keys: AuditKeys) -> SignedStatement:
        """The anchor with its public key, for sending."""
        text = self.statement.encode()
        signers = [key for key in keys.all if key.signed(text, self.signature)]
        return SignedStatement(
            self.statement, self.signature, (signers or [keys.newest])[-1].public_key
        )


def heads_now(connection: Connection) -> Heads:
    """Heads of all chains that have rows."""
    found = [ends_of(one) for one in connection.execute(select(*sealed_ends))]
    return {one.id: (one.head_seq, one.head_digest) for one in found if one.head_seq}


def make_anchor(connection: Connection, keys: AuditKeys, now: datetime) -> Statement | None:
    """Make and sign an anchor if a head has moved since the last one; in a write transaction.

    Raises KeyMissing.
    """
    if not heads_now(connection):
        return None
    locked = lock_totals(connection, keys)
    heads = heads_now(connection)  # again, since another machine may have made one
    last = last_anchor(connection)
    if last is not None and heads_of(last) == heads:
        return None
    number = max(locked.totals.anchors, last.number if last else 0) + 1
    before = text_digest(last.statement) if last else first_before()
    made = Statement(number, microseconds(now), before, heads)
    text = made.text()
    connection.execute(
        insert(audit_anchors).values(
            number=number, at=now, statement=text, signature=locked.key.sign(text.encode())
        )
    )
    write_totals(connection, locked, replace(locked.totals, anchors=number))
    return made


def last_anchor(connection: Connection) -> KeptAnchor | None:
    """The newest anchor."""
    return next(iter(newest_anchors(connection, 1)), None)


def newest_anchors(connection: Connection, most: int) -> list[KeptAnchor]:
    """The newest anchors, the newest first."""
    query = select(audit_anchors).order_by(audit_anchors.c.number.desc()).limit(most)
    return [
        KeptAnchor(one.number, one.at, one.statement, one.signature, _places(one.sent_to))
        for one in connection.execute(query)
    ]


def heads_of(anchor: KeptAnchor) -> Heads:
    """Heads of an anchor; none if it was tampered with."""
    try:
        return parse_statement(anchor.statement).heads
    except MalformedAnchor:
        return {}


def mark_sent(connection: Connection, numbers: Sequence[int], place: str) -> None:
    """Note that a place has anchors; in a write transaction."""
    query = select(audit_anchors.c.number, audit_anchors.c.sent_to)
    for found in connection.execute(
        query.where(audit_anchors.c.number.in_(numbers)).with_for_update()
    ).all():
        places = sorted({*_places(found.sent_to), place})
        connection.execute(
            update(audit_anchors)
            .where(audit_anchors.c.number == found.number)
            .values(sent_to=json.dumps(places))
        )


def _places(text: str | None) -> tuple[str, ...]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return ()
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
