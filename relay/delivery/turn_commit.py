"""Makes what a courier has to write durable: one transaction, or one each if that is refused."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from sqlalchemy.exc import DBAPIError

from foundation.failpoints import reached
from mailstore.blobs.store import Store
from mailstore.errors import StoreUnavailable
from relay.delivery.turn_transaction import Batch, Ledger, Written
from relay.dsn.bouncer import Report
from relay.queue.attempt_result import Ending
from relay.queue.lapses import Lapses
from relay.queue.model import Lease

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settling:
    """Commits batches; to be called in a thread.  `lapses` says when lapsed leases are taken."""

    store: Store
    ledger: Ledger
    clock: Callable[[], datetime]
    lapses: Lapses = field(default_factory=Lapses)

    def commit(self, batch: Batch) -> Written:
        """Do what the batch says, with reports of its endings.  Raises StoreUnavailable.

        What was taken on comes with its small bodies, read at once.
        """
        written = self._commit(batch)
        if not written.claims:
            return written
        # Without them each attempt reads its own, and finds out what is wrong.
        with suppress(StoreUnavailable):
            blobs = {one.blob for one in written.claims}
            return replace(written, sealed=self.store.blobs.sealed(blobs))
        return written

    def _commit(self, batch: Batch) -> Written:
        database, now = self.store.database, self.clock()
        reports = self.ledger.teller.prepare(batch.endings, now)
        batch = replace(batch, reports=reports, lapsed=self.lapses.count)
        try:
            with database.write() as connection:
                reached("delivery.settling")
                written = self.ledger.write(connection, batch, now)
                reached("delivery.settled")
        except DBAPIError:
            # One ending cannot be recorded: find out which, spare the rest.  Its lease lapses.
            _log.exception("queue.batch_refused")
        else:
            reached("delivery.committed")
            return written
        alone = [self._commit_alone(one, batch.reports, now) for one in batch.endings]
        with database.write() as connection:
            rest = self.ledger.write(connection, replace(batch, endings=()), now)
        states = [state for one in alone for state in one.states]
        reports = {key: report for one in alone for key, report in one.reports.items()}
        queued = rest.queued or any(one.queued for one in alone)
        return replace(rest, states=states, reports=reports, queued=queued)

    def _commit_alone(self, one: Ending, reports: Mapping[Lease, Report], now: datetime) -> Written:
        # Should it be the report that is refused, what became of the mail is recorded without it.
        for told in (reports, {}) if one.claim.lease in reports else ({},):
            try:
                with self.store.database.write() as connection:
                    return self.ledger.write(connection, Batch([one], told), now)
            except DBAPIError:
                _log.exception(
                    "queue.ending_refused", delivery=one.claim.id, with_report=bool(told)
                )
        return Written([None])
