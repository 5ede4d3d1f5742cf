"""Erasure of the content of deleted mailboxes, once their time of grace is over.

Each batch has a row in the audit trail with its numbers, in its own transaction: they add up to
what was erased, also after a kill in the middle.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from foundation.journal.writer import Journal
from mailstore.audit.event import AuditActor, AuditEvent, Door
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.mailboxes.erasure import DueMailbox, due_mailboxes, erase_batch
from mailstore.mailboxes.sent_counts import drop_old

from ..assembly.clock import utc_now

_log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 3600.0
_JOB: Final = AuditActor(account=None, unix_user=None, door=Door.JOB)


@dataclass(slots=True)
class MailboxErasureJob:
    """Rounds over deleted mailboxes.  While the clock is `in_doubt`, nothing is erased."""

    database: Database
    trail: AuditTrail
    journal: Journal
    interval: float = ROUND_SECONDS
    in_doubt: Callable[[], bool] = lambda: False
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            while True:
                await self._round()
                await asyncio.sleep(self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    async def _round(self) -> None:
        try:
            await asyncio.to_thread(self.erase)
        except Exception:
            # Any error: the next round must run, or deleted content stays.
            _log.exception("mailbox.unerased")

    def erase(self) -> None:
        """Erase all that is due now, and old counts of sent mail.  Raises StoreUnavailable."""
        if self.in_doubt():
            return
        with self.database.write() as connection:
            drop_old(connection, utc_now())
        with self.database.read() as connection:
            due = due_mailboxes(connection, utc_now())
        for mailbox in due:
            if not self._erase(mailbox):
                return

    def _erase(self, mailbox: DueMailbox) -> bool:
        """Erase one mailbox; False if the round has to end."""
        entries = messages = 0
        while not (self._ending or self.in_doubt()):
            with self.database.write() as connection:
                batch = erase_batch(connection, mailbox.id, utc_now())
                if batch is None:
                    return True
                event = AuditEvent(
                    at=utc_now(),
                    event="mailbox.erased" if batch.done else "mailbox.erasing",
                    actor=_JOB,
                    tenant=mailbox.tenant_id,
                    mailbox=mailbox.address,
                    facts={"entries": batch.entries, "messages": batch.messages},
                )
                self.trail.append(connection, [event])
            entries, messages = entries + batch.entries, messages + batch.messages
            if batch.done:
                facts = {"entries": entries, "messages": messages}
                self.journal.record("mailbox.erased", mailbox=mailbox.address, **facts)
                _log.info("mailbox.erased", **facts)
                return True
        return False
