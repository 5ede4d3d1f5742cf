"""Reports to senders on the outcome of their mail, in the transaction that records it.

A report is written, and its body made durable where that takes a file, before the transaction; it
becomes a message in it, so that neither the record nor the report is ever there without the other
(RFC 3461 §5.2): for the mailbox that sent the mail, or by the queue where another operator's did.
What cannot be told to the sender, since it was a report itself or the mailbox is gone, is told to
our postmaster.
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
from mailstore.mailboxes.mailboxes import Mailbox, MailboxState, local_domains, resolve
from relay.acceptance.group_commit import insert_rows, record_held
from relay.acceptance.message import AcceptedMessage
from relay.dsn.occasions import ReportOccasion, occasion_of, occasion_of_drop
from relay.dsn.receipt import as_message
from relay.dsn.rules import FULL_LIMIT, Original, notice_of, report_of
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import Claim, Lease
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import SyntaxRefused
from relay.smtp.headers import HeaderCollector

_log = structlog.get_logger(__name__)

_PIECE: Final = 64 * 1024  # octets read at a time of a message that goes back
_UNREADABLE: Final = (NotFound, BlobDamaged, KeyMissing, StoreUnavailable)

Report = tuple[AcceptedMessage, PreparedBody]


@dataclass(frozen=True, slots=True)
class _Here:
    """Who is here: mailboxes by the addresses that were looked for, and our domains."""

    mailboxes: Mapping[str, Mailbox]
    domains: frozenset[str]


@dataclass(frozen=True, slots=True)
class Bouncer:
    """Writes the reports of one process; `life` is how long mail is tried.

    `postmaster` is the address of ours that hears of what nobody else can be told, or None;
    `record` notes in the journal that nobody is told who should be.
    """

    store: Store
    hostname: str
    postmaster: SmtpAddress | None
    life: timedelta
    new_id: Callable[[], str]
    record: Callable[..., None]

    def compose(self, results: Sequence[AttemptResult], now: datetime) -> dict[Lease, Report]:
        """The reports that results ask for, by the leases that end so; blocks.

        Raises StoreUnavailable.
        """
        occasions = [
            one for result in results if (one := occasion_of(result, self.life)).recipients
        ]
        found = self._written(occasions, now)
        return {key: report for key, report in found.items() if report is not None}

    def compose_dropped(self, claims: Sequence[Claim], now: datetime) -> dict[Lease, Report | None]:
        """The reports on deliveries that an operator drops, None where nobody is to be told.

        Those whose reports could not be written are missing: logged, and not to be dropped.
        Blocks.  Raises StoreUnavailable.
        """
        return self._written([occasion_of_drop(claim) for claim in claims], now)

    def insert(self, connection: Connection, reports: Sequence[Report], now: datetime) -> None:
        """Make reports messages, inside the caller's transaction.

        One for another operator is queued; the courier that wrote it looks at once, others, where
        the database cannot tell them (`relay.queue.wakeup`), when they do.
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
                    # A fault of ours must not keep what became of the mail from being recorded.
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
        """A report without the message, for which there is no room where large bodies are.

        What became of all other mail is written in the same transaction: it must not wait for that
        until leases lapse, and be sent again.  Raises StoreUnavailable.
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
            with suppress(SyntaxRefused):  # a sender that is no address
                to = None if abroad else mailbox
                return self._report(original, occasion, to, here, now, limits)
        if not occasion.lost:
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
        """The domain of ours that writes to other operators' senders."""
        if self.postmaster is not None:
            return self.postmaster.domain
        return min(here.domains, default=self.hostname)

    def _notice(
        self, original: Original, occasion: ReportOccasion, here: _Here, now: datetime
    ) -> AcceptedMessage | None:
        postmaster = self.postmaster
        mailbox = here.mailboxes.get(str(postmaster)) if postmaster is not None else None
        if postmaster is None or mailbox is None:
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
        """The header section of a message, empty if it cannot be read: then without it."""
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
    """Where the store fails in the middle, nothing is left of the reports written before."""
    try:
        yield
    except BaseException:
        for one in composed.values():
            if one is not None:
                one.draft.discard()
        raise
