"""The end of rows in state `failed`: kept for a while, for repair and retry, then deleted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from mailstore.db.database import Database
from mailstore.db.dialect import skip_locked
from relay.queue.schema import deliveries, delivery_recipients
from relay.smtp.outcome import State

BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class DeletedDelivery:
    """A delivery that is no longer in the queue."""

    id: int
    message_id: str
    domain: str


def delete_failed(
    database: Database, before: datetime, *, batch: int = BATCH
) -> Iterator[Sequence[DeletedDelivery]]:
    """Delete deliveries that failed before a time; yields once per transaction.

    Their senders got a DSN in the transaction that made them fail (`relay.dsn.writer`).  Messages
    without any other reference are then freed with their bodies (`mailstore.blobs.gc`).  Several
    may run at once.  Raises StoreUnavailable; earlier transactions stay done.
    """
    d, r = deliveries.c, delivery_recipients.c
    over = (d.state == State.FAILED, d.due < before)
    oldest = select(d.id, d.message_id, d.domain).where(*over).order_by(d.due, d.id).limit(batch)
    while True:
        with database.read() as connection:
            # A read first: most times there is nothing, and no write lock is needed to learn that.
            if connection.execute(oldest.limit(1)).first() is None:
                return
        with database.write() as connection:
            found = [DeletedDelivery(*row) for row in connection.execute(skip_locked(oldest))]
            ids = [one.id for one in found]
            connection.execute(delete(delivery_recipients).where(r.delivery_id.in_(ids)))
            connection.execute(delete(deliveries).where(d.id.in_(ids)))
        if not found:
            return  # locked by others
        yield found
