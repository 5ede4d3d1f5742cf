"""Senders are told what became of their mail, in the transaction that records it.

A report is written, and its body made durable where that takes a file, before the transaction; it
becomes a message in it, for the mailbox that sent the mail, so that neither the record nor the
report is ever there without the other (RFC 3461 §5.2).  What cannot be told to the sender, since it
was a report itself or the mailbox is gone, is told to our postmaster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from mailstore.bodies import Prepared
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.mailboxes import Mailbox, MailboxState, resolve
from relay.acceptance import Store, insert_rows
from relay.address import Address
from relay.bounces import FULL_LIMIT, Became, Original, notice_of, report_of, wanted
from relay.ending import Ending
from relay.errors import SyntaxRefused
from relay.headers import HeaderCollector
from relay.parameters import Notify
from relay.queue import State, Waiting
from relay.receipts import written
from relay.transaction import Submission

_log = structlog.get_logger(__name__)

_PIECE: Final = 64 * 1024  # octets read at a time of a message that goes back
_UNREADABLE: Final = (NotFound, BlobDamaged, KeyMissing, StoreUnavailable)

Report = tuple[Submission, Prepared]


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes the reports of one courier; `life` is how long mail is tried.

    `postmaster` is the address of ours that hears of what nobody else can be told, or None.
    """

    store: Store
    hostname: str
    postmaster: Address | None
    life: timedelta
    new_id: Callable[[], str]

    def prepare(self, endings: Sequence[Ending], now: datetime) -> dict[int, Report]:
        """The reports that endings ask for, by the numbers of their deliveries; blocks.

        Raises StoreUnavailable.
        """
        due = [(ending, became) for ending in endings if (became := self._became(ending))]
        if not due:
            return {}
        addresses = {ending.claim.sender for ending, _ in due if ending.claim.sender}
        if self.postmaster is not None:
            addresses.add(str(self.postmaster))
        with self.store.database.read() as connection:
            mailboxes = resolve(connection, addresses)
        composed: dict[int, Submission] = {}
        for ending, became in due:
            try:
                report = self._compose(ending, became, mailboxes, now)
            except StoreUnavailable:
                raise
            except Exception:
                # A fault of ours must not keep what became of the mail from being recorded.
                _log.exception("report.error", delivery=ending.claim.id)
                continue
            if report is not None:
                composed[ending.claim.id] = report
        found = self.store.blobs.prepare([one.draft for one in composed.values()])
        reports: dict[int, Report] = {}
        for (key, submission), body in zip(composed.items(), found, strict=True):
            if isinstance(body, StoreUnavailable):
                raise body
            reports[key] = (submission, body)
        return reports

    def keep(self, connection: Connection, report: Report, now: datetime) -> None:
        """Make a report a message, inside the caller's transaction."""
        insert_rows(self.store, connection, [report], now)

    def _became(self, ending: Ending) -> tuple[Became, ...]:
        """What there may be to tell; most endings are successes that nobody asked to hear of."""
        claim = ending.claim

        def became(one: Waiting, state: State, until: datetime | None = None) -> Became:
            outcome = ending.outcomes.get(one.address)
            return Became(
                one.address,
                state,
                one.notify,
                one.orcpt,
                reply=outcome.reply if outcome else ending.error,
                reason="" if outcome and ending.reason == "refused" else ending.reason,
                dsn=outcome.dsn if outcome else False,
                last_attempt=ending.at,
                retry_until=until,
            )

        end = claim.created_at + self.life
        return (
            *(
                became(one, State.DELIVERED)
                for one in ending.delivered
                if Notify.SUCCESS in wanted(one.notify)
            ),
            *(became(one, State.FAILED) for one in ending.failed),
            *(became(one, State.WAITING) for one in ending.expired),
            *(became(one, State.WAITING, end) for one in ending.late),
        )

    def _compose(
        self,
        ending: Ending,
        became: tuple[Became, ...],
        mailboxes: Mapping[str, Mailbox],
        now: datetime,
    ) -> Submission | None:
        claim = ending.claim
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
        mailbox = mailboxes.get(claim.sender)
        if mailbox is None or mailbox.state is MailboxState.CLOSED:
            return self._notice(replace(original, sender=None), became, mailboxes, now)
        try:
            return self._report(original, became, mailbox.id, claim.blob, now)
        except SyntaxRefused:  # a sender that is no address
            return self._notice(replace(original, sender=None), became, mailboxes, now)

    def _report(
        self,
        original: Original,
        became: tuple[Became, ...],
        mailbox_id: int,
        blob: str,
        now: datetime,
    ) -> Submission | None:
        for limit in (FULL_LIMIT, 0):
            facts = report_of(
                original,
                became,
                hostname=self.hostname,
                report_id=self.new_id(),
                now=now,
                full_limit=limit,
            )
            if facts is None:
                return None
            try:
                return written(
                    facts,
                    self.store.blobs.draft(),
                    session=facts.message_id,
                    mailbox_id=mailbox_id,
                    original=self._octets(blob),
                )
            except _UNREADABLE:
                if not limit:
                    raise
        return None

    def _notice(
        self,
        original: Original,
        became: tuple[Became, ...],
        mailboxes: Mapping[str, Mailbox],
        now: datetime,
    ) -> Submission | None:
        mailbox = mailboxes.get(str(self.postmaster)) if self.postmaster is not None else None
        if self.postmaster is None or mailbox is None:
            _log.warning("report.nobody_to_tell", message=original.message_id)
            return None
        facts = notice_of(
            original,
            became,
            hostname=self.hostname,
            report_id=self.new_id(),
            now=now,
            postmaster=self.postmaster,
        )
        if facts is None:
            return None
        draft = self.store.blobs.draft()
        return written(facts, draft, session=facts.message_id, mailbox_id=mailbox.id)

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
