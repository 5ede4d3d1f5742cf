"""DSN writer: composes all DSNs of a process, stored in the transaction that records the results.

A DSN is composed, and its body made durable in a file if it needs one, before the transaction.  In
the transaction it becomes a message: for the mailbox that sent the mail, or in the queue if the
sender is at another operator.  So result and DSN are both stored, or neither (RFC 3461 §5.2).
If no sender can be notified (the mail was itself a report, or the mailbox is gone), our postmaster
gets a notice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from foundation.best_effort import best_effort
from mailstore.blobs.bodies import PreparedBody
from mailstore.blobs.store import Store
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.mailboxes.mailboxes import local_domains, resolve
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import MailboxState
from relay.acceptance.group_commit import insert_rows, record_held
from relay.acceptance.message import AcceptedMessage
from relay.dsn.occasions import (
    ReportOccasion,
    occasion_of,
    occasion_of_drop,
    occasion_of_late,
)
from relay.dsn.receipt import as_message
from relay.dsn.rules import FULL_LIMIT, Original, notice_of, report_of
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import Claim, Lease
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import SyntaxRefused
from relay.smtp.headers import HeaderCollector

_log = structlog.get_logger(__name__)

_PIECE: Final = 64 * 1024  # octets per read of a returned message
_UNREADABLE: Final = (NotFound, BlobDamaged, KeyMissing, StoreUnavailable)

Report = tuple[AcceptedMessage, PreparedBody]


@dataclass(frozen=True, slots=True)
class _Here:
    """Local addresses: mailboxes by the addresses looked up, and our domains."""

    mailboxes: Mapping[str, Mailbox]
    domains: frozenset[str]


@dataclass(frozen=True, slots=True)
class DsnWriter:
    """Composes the DSNs of one process; `life`: how long mail is tried.

    `postmaster`: our address for notices, or None.  `record`: writes events to the journal.
    """

    store: Store
    hostname: str
    postmaster: SmtpAddress | None
    life: timedelta
    new_id: Callable[[], str]
    record: Callable[..., None]

    def compose(self, results: Sequence[AttemptResult], now: datetime) -> dict[Lease, Report]:
        """Compose the DSNs due for these results, by lease.  Blocks.

        Raises StoreUnavailable.
        """
        occasions = [
            one for result in results if (one := occasion_of(result, self.life)).recipients
        ]
        found = self._written(occasions, now)
        return {key: report for key, report in found.items() if report is not None}

    def compose_dropped(self, claims: Sequence[Claim], now: datetime) -> dict[Lease, Report | None]:
        """Compose the DSNs for deliveries dropped by an operator; None if no DSN is due.

        A claim is missing in the result if its DSN could not be written: the error is logged, and
        the delivery must not be dropped.  Blocks.  Raises StoreUnavailable.
        """
        return self._written([occasion_of_drop(claim) for claim in claims], now)

    def compose_late(self, claims: Sequence[Claim], now: datetime) -> dict[Lease, Report | None]:
        """Compose the DSNs for mail to mailboxes closed meanwhile, as `compose_dropped`."""
        return self._written([occasion_of_late(claim) for claim in claims], now)

    def insert(self, connection: Connection, reports: Sequence[Report], now: datetime) -> None:
        """Store DSNs as messages, in the caller's transaction.

        A DSN for another operator is queued.  The courier that wrote it reads the queue at once;
        other couriers at a wake-up from PostgreSQL (`relay.queue.wakeup`) or at their next poll.
        """
        _, held = insert_rows(self.store, connection, reports, now)
        with best_effort:
            record_held(held, self.record)

    def _written(
        self, occasions: Sequence[ReportOccasion], now: datetime
    ) -> dict[Lease, Report | None]:
        if not occasions:
            return {}
        here = self._look_up(occasions)
        composed: dict[Lease, AcceptedMessage | None] = {}
        with _discarding(composed):
            for one in occasions:
                try:
                    composed[one.claim.lease] = self._compose(one, here, now)
                except StoreUnavailable:
                    raise
                except Exception:
                    # Our own bug must not prevent the record of the results.
                    _log.exception("report.error", delivery=one.claim.id)
                    self.record("report.error", message=one.claim.message_id, delivery=one.claim.id)
            reports = [one for one in composed.values() if one is not None]
            bodies = iter(self.store.blobs.prepare([one.draft for one in reports]))
        found: dict[Lease, Report | None] = {}
        by_lease = {one.claim.lease: one for one in occasions}
        for key, message in composed.items():
            body = None if message is None else next(bodies)
            if isinstance(body, StoreUnavailable):
                found[key] = self._shortened(by_lease[key], here, now, body)
            else:
                found[key] = None if message is None or body is None else (message, body)
        return found

    def _shortened(
        self, occasion: ReportOccasion, here: _Here, now: datetime, why: StoreUnavailable
    ) -> Report | None:
        """Compose a DSN without the returned message: its large body could not be stored.

        The results of all other mail are in the same transaction.  If it failed, they would wait
        until their leases lapse, and the mail would be sent again.  Raises StoreUnavailable.
        """
        _log.warning("report.shortened", message=occasion.claim.message_id, why=str(why))
        message = self._compose(occasion, here, now, limits=(0,))
        if message is None:
            return None
        (body,) = self.store.blobs.prepare([message.draft])
        if isinstance(body, StoreUnavailable):
            raise body
        return message, body

    def _look_up(self, occasions: Sequence[ReportOccasion]) -> _Here:
        addresses = {one.claim.sender for one in occasions if one.claim.sender}
        if self.postmaster is not None:
            addresses.add(str(self.postmaster))
        with self.store.database.read() as connection:
            return _Here(resolve(connection, addresses), local_domains(connection))

    def _compose(
        self,
        occasion: ReportOccasion,
        here: _Here,
        now: datetime,
        limits: Sequence[int] = (FULL_LIMIT, 0),
    ) -> AcceptedMessage | None:
        claim = occasion.claim
        original = Original(
            message_id=claim.message_id,
            sender=claim.sender or None,
            arrival=claim.created_at,
            envid=claim.envid,
            ret=claim.ret,
            size=claim.size,
            header=self._header(claim.blob),
            smtputf8=claim.smtputf8,
        )
        mailbox = here.mailboxes.get(claim.sender)
        abroad = bool(claim.sender) and claim.sender.rpartition("@")[2].lower() not in here.domains
        reachable = abroad or (mailbox is not None and mailbox.state is not MailboxState.CLOSED)
        if reachable and not original.is_report:
            with suppress(SyntaxRefused):  # a sender that is not an address
                to = None if abroad else mailbox
                return self._report(original, occasion, to, here, now, limits)
        if not occasion.notify_postmaster:
            return None
        return self._notice(replace(original, sender=None), occasion, here, now)

    def _report(
        self,
        original: Original,
        occasion: ReportOccasion,
        mailbox: Mailbox | None,
        here: _Here,
        now: datetime,
        limits: Sequence[int],
    ) -> AcceptedMessage | None:
        for limit in limits:
            facts = report_of(
                original,
                occasion.recipients,
                hostname=self.hostname,
                report_id=self.new_id(),
                now=now,
                full_limit=limit,
                home=self._home(here) if mailbox is None else "",
            )
            if facts is None:
                return None
            try:
                return as_message(
                    facts,
                    self.store.blobs.draft(),
                    session=facts.message_id,
                    mailbox_id=None if mailbox is None else mailbox.id,
                    original=self._octets(occasion.claim.blob),
                )
            except _UNREADABLE:
                if not limit:
                    raise
        return None

    def _home(self, here: _Here) -> str:
        """Our domain for DSNs to senders at other operators."""
        if self.postmaster is not None:
            return self.postmaster.domain
        return min(here.domains, default=self.hostname)

    def _notice(
        self, original: Original, occasion: ReportOccasion, here: _Here, now: datetime
    ) -> AcceptedMessage | None:
        postmaster = self.postmaster
        mailbox = here.mailboxes.get(str(postmaster)) if postmaster is not None else None
        # In a closed or deleted mailbox nobody would read it.
        if postmaster is None or mailbox is None or mailbox.state is MailboxState.CLOSED:
            _log.warning("report.nobody_to_tell", message=original.message_id)
            self.record("report.nobody_to_tell", message=original.message_id)
            return None
        facts = notice_of(
            original,
            occasion.recipients,
            hostname=self.hostname,
            report_id=self.new_id(),
            now=now,
            postmaster=postmaster,
        )
        if facts is None:
            return None
        draft = self.store.blobs.draft()
        return as_message(facts, draft, session=facts.message_id, mailbox_id=mailbox.id)

    def _header(self, blob: str) -> bytes:
        """Header section of a message; empty if the body cannot be read."""
        collector = HeaderCollector()
        try:
            with self.store.blobs.open(blob) as body:
                while not collector.done and (piece := body.read(_PIECE)):
                    collector.feed(piece)
        except _UNREADABLE:
            return b""
        return collector.section

    def _octets(self, blob: str) -> Iterator[bytes]:
        with self.store.blobs.open(blob) as body:
            while piece := body.read(_PIECE):
                yield piece


@contextmanager
def _discarding(composed: Mapping[Lease, AcceptedMessage | None]) -> Iterator[None]:
    """Discard all drafts composed so far if the block fails."""
    try:
        yield
    except BaseException:
        for one in composed.values():
            if one is not None:
                one.draft.discard()
        raise
