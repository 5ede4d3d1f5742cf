"""Messages in the database by address, peer and time, the newest first.

Identifiers of messages sort by time, so the table is read by its key, a slice at a time: memory is
bounded, and no read transaction runs long.  Delivered mail that no mailbox here holds is gone from
the database; the trace journal has it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from foundation.ids import new_id
from mailstore.db.address_domain import address_domain
from mailstore.db.database import Database
from mailstore.db.dialect import disable_statement_timeout
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.db.sealed_columns import is_address
from relay.queue.schema import deliveries, delivery_recipients
from relay.queue_admin.filter import like

SLICE: Final = 5000  # messages per read: some milliseconds
_PARAMETERS: Final = 500  # identifiers in a statement


@dataclass(frozen=True, slots=True)
class MessageTerms:
    """Conditions on messages; all that are given must hold.

    `address`: sender or recipient, folded by `address_key`.  `peer`: domain of the other side in
    lower case, or part of the name in its certificate.  `before`: identifier of a message; only
    older ones.
    """

    since: datetime
    until: datetime
    address: str | None = None
    peer: str | None = None
    before: str | None = None

    @property
    def newest(self) -> str:
        """Identifiers of messages that fit are less than this."""
        end = new_id(self.until, b"")
        return end if self.before is None else min(end, self.before)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in the database; recipients in mailboxes here, and in the queue."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    peer: str


def newest_messages(
    database: Database, terms: MessageTerms, *, batch: int = SLICE
) -> Iterator[StoredMessage]:
    """Messages that fit, the newest first.  Raises StoreUnavailable."""
    oldest, before = new_id(terms.since, b""), terms.newest
    m = messages.c
    while True:
        with database.read() as connection:
            disable_statement_timeout(connection)
            ids = connection.scalars(
                select(m.id).where(m.id >= oldest, m.id < before).order_by(m.id.desc()).limit(batch)
            ).all()
            found = _fitting(connection, terms, ids) if ids else []
        yield from found
        if len(ids) < batch:
            return
        before = ids[-1]


def _fitting(
    connection: Connection, terms: MessageTerms, ids: Sequence[str]
) -> list[StoredMessage]:
    m = messages.c
    rows = connection.execute(
        select(m.id, m.sender, m.size, m.peer)
        .where(m.id >= ids[-1], m.id <= ids[0], *_conditions(terms))
        .order_by(m.id.desc())
    ).all()
    recipients = _recipients(connection, [row.id for row in rows])
    return [
        StoredMessage(
            row.id, row.sender, tuple(dict.fromkeys(recipients.get(row.id, ()))), row.size, row.peer
        )
        for row in rows
    ]


def _conditions(terms: MessageTerms) -> list[ColumnElement[bool]]:
    m, e, d, r = messages.c, entries.c, deliveries.c, delivery_recipients.c
    held, queued = e.message_id == m.id, d.message_id == m.id
    found: list[ColumnElement[bool]] = []
    if terms.address is not None:
        by_alias = exists().where(
            held, mailboxes.c.id == e.mailbox_id, mailboxes.c.address == terms.address
        )
        found.append(
            or_(
                is_address(m.sender, terms.address),
                by_alias,
                exists().where(held, is_address(e.recipient, terms.address)),
                exists().where(queued, r.delivery_id == d.id, is_address(r.address, terms.address)),
            )
        )
    if terms.peer is not None:
        found.append(
            or_(
                like(m.peer, f"*{terms.peer}*"),
                and_(m.peer != "local", address_domain(m.sender) == terms.peer),
                exists().where(queued, d.domain == terms.peer),
            )
        )
    return found


def _recipients(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    e, d, r = entries.c, deliveries.c, delivery_recipients.c
    found: dict[str, list[str]] = {}
    for some in (ids[at : at + _PARAMETERS] for at in range(0, len(ids), _PARAMETERS)):
        for query in (
            select(e.message_id, e.recipient).where(e.message_id.in_(some)).order_by(e.id),
            select(d.message_id, r.address)
            .join(delivery_recipients, r.delivery_id == d.id)
            .where(d.message_id.in_(some))
            .order_by(r.id),
        ):
            for message, address in connection.execute(query):
                found.setdefault(message, []).append(address)
    return found
