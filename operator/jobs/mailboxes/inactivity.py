"""Warnings to mailboxes that nobody uses, and their suspension (DOMAIN U1.2; `[inactivity]`).

Each step of a mailbox, its message and its audit row are in one transaction: a holder is warned
once, also after a kill. Deletion is never this job's: `mssante report unused --mailboxes` lists
what is due for it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from foundation.failpoints import failpoint
from mailstore.audit.event import JOB_ACTOR, AuditEvent, Fact
from mailstore.audit.trail import AuditTrail
from mailstore.errors import InvalidState, NotFound
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights.inactivity import (
    UnusedMailbox,
    due_mailboxes,
    lock_unused,
    note_warning,
    suspend_unused,
    unused_mailboxes,
)
from mailstore.rights.inactivity_ladder import LadderPolicy, LadderStep
from relay.submission.inactivity_notice import InactivityNotice, build_inactivity_notice

from ..rounds import JobRounds
from .notices import NoticeWriter, PreparedNotice

_log = structlog.get_logger(__name__)

JOB: Final = "inactivity"
ROUND_SECONDS: Final = 3600.0
_PAGE: Final = 500


@dataclass(slots=True)
class InactivityJob:
    """Rounds over mailboxes of some types.  While the clock is `in_doubt`, no step is taken."""

    writer: NoticeWriter
    trail: AuditTrail
    policy: LadderPolicy
    types: Collection[MailboxType]
    clock: Callable[[], datetime]
    in_doubt: Callable[[], bool] = lambda: False
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "inactivity.untold", self.round, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def round(self) -> int:
        """Take all steps that are due; returns their number.  Blocks.  Raises StoreUnavailable."""
        since = self.clock() - timedelta(days=self.policy.warn_days[0])
        after, steps = "", 0
        while True:
            with self.writer.store.database.read() as connection:
                page = unused_mailboxes(
                    connection, since, types=self.types, after=after, limit=_PAGE
                )
            for mailbox in due_mailboxes(page, self.policy, self.clock()):
                if self._ending or self.in_doubt():
                    return steps
                steps += self._step(mailbox)
            if len(page) < _PAGE:
                return steps
            after = page[-1].address

    def _step(self, mailbox: UnusedMailbox) -> bool:
        """Take the next step of a mailbox, if it is still due."""
        now = self.clock()
        warn = mailbox.next_step(self.policy).step is LadderStep.WARN
        notice = self._notice(mailbox, now) if warn else None
        with self.writer.store.database.write() as connection:
            try:
                found = lock_unused(connection, mailbox.id)
            except (InvalidState, NotFound):
                return False
            if found != mailbox:  # used, suspended or kept since, or another machine was faster
                return False
            if notice is not None:
                self._warn(connection, found, notice, now)
            else:
                suspend_unused(connection, found, now)
                self._audit(connection, "mailbox.suspended", found, now, inbound="refuse")
        failpoint("notice.committed")
        event = "inactivity.warned" if warn else "inactivity.suspended"
        _log.info(event, type=mailbox.type.value)
        return True

    def _warn(
        self, connection: Connection, found: UnusedMailbox, notice: PreparedNotice, now: datetime
    ) -> None:
        number = note_warning(connection, found, now)
        self.writer.insert(connection, notice)
        self._audit(
            connection,
            "mailbox.unused_warned",
            found,
            now,
            message=notice.message.id,
            warning=number,
        )

    def _notice(self, mailbox: UnusedMailbox, now: datetime) -> PreparedNotice:
        policy, head = self.policy, self.writer.head(mailbox.address, now)
        suspended = mailbox.facts.suspension_after(policy, now)
        rest = timedelta(days=policy.delete_days - policy.suspend_days)
        octets = build_inactivity_notice(
            InactivityNotice(head, mailbox.facts.used_at, suspended, suspended + rest)
        )
        return self.writer.prepare(head, mailbox.id, octets)

    def _audit(
        self,
        connection: Connection,
        event: str,
        mailbox: UnusedMailbox,
        now: datetime,
        *,
        message: str | None = None,
        **facts: Fact,
    ) -> None:
        row = AuditEvent(
            at=now,
            event=event,
            actor=JOB_ACTOR,
            tenant=mailbox.tenant_id,
            mailbox=mailbox.address,
            message=message,
            facts={"unused_since": mailbox.facts.used_at, **facts},
        )
        self.trail.append(connection, [row])
