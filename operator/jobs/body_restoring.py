"""Release of mail that was held because its body was unreadable, once the body can be read again.

A person who restores a body or a key has nothing else to do.  Bodies are read only if the last
measurement of the queue found such mail, and only a few in each round.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import ColumnElement, and_, select

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from mailstore.db.schema import messages
from mailstore.errors import BlobDamaged, KeyMissing, NotFound
from relay.queue.schema import deliveries
from relay.queue_admin.actions import ReleaseAction, run_action
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus
from relay.smtp.outcome import State

from ..assembly.clock import utc_now
from .queue_measurement import QueueMeasurement
from .rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "body-restoring"
ROUND_SECONDS: Final = 60.0
BATCH: Final = 20  # bodies read in each round
_PIECE: Final = 256 * 1024  # octets read at a time


@dataclass(frozen=True, slots=True)
class RestoreAction(ReleaseAction):
    """Release of deliveries held for their bodies; those of a person or a rule stay held."""

    def eligible(self) -> ColumnElement[bool]:
        """Deliveries held only for their bodies."""
        return and_(DeliveryStatus.HELD.condition, deliveries.c.unreadable)


@dataclass(slots=True)
class BodyRestoreJob:
    """Rounds over the deliveries held for their bodies; each release is an event in the journal."""

    store: Store
    journal: Journal
    queue_measurement: QueueMeasurement
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)
    _after: int = 0

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        self.rounds.begin(JOB)
        while True:
            with self.rounds.watch(JOB, "bodies.unread"):
                depth = self.queue_measurement.depth
                if depth is not None and depth.unreadable:
                    await asyncio.to_thread(self.round)
            await asyncio.sleep(self.interval)

    def round(self) -> int:
        """Try the next BATCH deliveries.  Returns the number released.  Raises StoreUnavailable."""
        d = deliveries.c
        query = (
            select(d.id, messages.c.blob, messages.c.size)
            .join(messages, messages.c.id == d.message_id)
            .where(d.id > self._after, d.state == State.WAITING, d.unreadable)
            .order_by(d.id)
            .limit(BATCH)
        )
        with self.store.database.read() as connection:
            found = connection.execute(query).all()
        self._after = found[-1].id if len(found) == BATCH else 0
        released = 0
        for row in found:
            if self._is_readable(row.blob, row.size):
                released += self._release(row.id)
        return released

    def _is_readable(self, blob: str, size: int) -> bool:
        """Read the whole body: damage may be anywhere.  Raises StoreUnavailable."""
        try:
            with self.store.blobs.open(blob, size) as body:
                while body.read(_PIECE):
                    pass
        except (NotFound, BlobDamaged, KeyMissing):
            return False
        return True

    def _release(self, number: int) -> int:
        wanted = DeliveryFilter(ids=(number,), state=DeliveryStatus.HELD)
        touched = [
            one
            for done in run_action(self.store.database, RestoreAction(), wanted, utc_now)
            for one in done.changed
        ]
        for one in touched:
            facts = {"delivery": one.id, "domain": one.domain}
            why = "its body can be read again"
            self.journal.record(
                "queue.released", message=one.message_id, **facts, who="mssante", why=why
            )
            _log.info("queue.released", message=one.message_id, **facts, why=why)
        return len(touched)
