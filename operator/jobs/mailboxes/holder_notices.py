"""Messages to the holders of mailboxes that administrators read (`mssante break-glass`).

The message, the mark that the holder was told, and the audit row are stored in one transaction: a
holder is told once, also after a kill.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from foundation.failpoints import failpoint
from mailstore.accounts.tenants import mailbox_tenant
from mailstore.audit.event import JOB_ACTOR, AuditEvent
from mailstore.audit.trail import AuditTrail
from mailstore.rights.break_glass import Access, set_told, untold
from relay.submission.holder_notice import HolderNotice, build_notice

from ..rounds import JobRounds
from .notices import NoticeWriter

_log = structlog.get_logger(__name__)

JOB: Final = "holder-notices"
ROUND_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class HolderNotices:
    """Rounds over the accesses whose holder is still to be told."""

    writer: NoticeWriter
    trail: AuditTrail
    clock: Callable[[], datetime]
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        await self.rounds.repeat(JOB, "break_glass.untold", self.tell_all, self.interval)

    def tell_all(self) -> int:
        """Tell all holders; returns their number.  Blocks.

        Raises the first error after the others have been told.
        """
        with self.writer.store.database.read() as connection:
            found = untold(connection)
        told, errors = 0, list[Exception]()
        for access in found:
            try:
                told += self._tell(access)
            except Exception as error:  # any error of one access must not keep others untold
                errors.append(error)
        if errors:
            raise errors[0]
        return told

    def _tell(self, access: Access) -> bool:
        now = self.clock()
        head = self.writer.head(access.mailbox, now)
        octets = build_notice(
            HolderNotice(
                head=head,
                who=access.who,
                second=access.second,
                reason=access.reason,
                begins=access.agreed_at or access.asked_at,
                ends=access.ends_at,
            )
        )
        notice = self.writer.prepare(head, access.mailbox_id, octets)
        with self.writer.store.database.write() as connection:
            if not set_told(connection, access.id, now):
                return False  # another machine was faster, or the mailbox is erased
            self.writer.insert(connection, notice)
            event = AuditEvent(
                at=now,
                event="break_glass.holder_told",
                actor=JOB_ACTOR,
                mailbox=access.mailbox,
                tenant=mailbox_tenant(connection, access.mailbox_id),
                message=notice.message.id,
                facts={"access": access.id},
            )
            self.trail.append(connection, [event])
        failpoint("notice.committed")
        _log.info("break_glass.holder_told", access=access.id)
        return True
