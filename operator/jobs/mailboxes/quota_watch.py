"""Warnings that a mailbox or a domain has reached 80 or 95 % of its quota, once for each crossing.

A round looks at the mailboxes with a quota that got mail since the last round, at a page of those
told of a level (they may have made room), and at a page of all that have a quota: this last finds
what the first missed, such as a lower quota or an arrival while this process was away. So a round
costs as much on a million mailboxes as on a thousand; a pass over a million takes some eight hours.

The level told is compared and set in the transaction of the notice: each crossing is told once, on
any number of machines. The notice goes in even if the mailbox is full.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import Connection

from foundation.failpoints import failpoint
from foundation.journal.writer import Journal
from mailstore.mail.domain_usage import DomainUsage
from mailstore.mail.quota import LEVELS, Quota, level_after
from mailstore.mail.quota_watch import (
    PAGE,
    WatchedDomain,
    WatchedMailbox,
    crossing,
    ids_told,
    ids_with_new,
    ids_with_quota,
    last_entry,
    note_domain_told,
    note_told,
    told_mailboxes,
    watched_domains,
)
from relay.submission.quota_notice import QuotaNotice, build_quota_notice

from ..rounds import JobRounds
from .notices import NoticeWriter

_log = structlog.get_logger(__name__)

JOB: Final = "quota-watch"
ROUND_SECONDS: Final = 15.0
NEW_PAGES: Final = 20  # most pages of new entries in a round
LOOK_BACK: Final = 10_000  # entries before the newest at which the first round begins


@dataclass(slots=True)
class QuotaWatch:
    """Rounds over quotas.

    `reached`: number of mailboxes and domains by kind and level, after the last round.
    """

    writer: NoticeWriter
    journal: Journal
    clock: Callable[[], datetime]
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)
    usage: DomainUsage = field(default_factory=DomainUsage)
    reached: dict[tuple[str, int], int] = field(default_factory=dict)
    _seen: int | None = field(default=None, init=False)  # the last entry looked at
    _with_quota: int = field(default=0, init=False)  # ends of the last pages
    _told: int = field(default=0, init=False)
    _ending: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "quota.unwatched", self.round, self.interval)
        finally:
            self._ending = True  # stops the thread of a round in progress

    def round(self) -> int:
        """Tell all crossings found; returns their number. Blocks.

        Raises the first error after the others have been told.
        """
        told, errors = 0, list[Exception]()
        for one in self._crossing():
            if self._ending:
                break
            try:
                told += self._tell(one)
            except Exception as error:  # any error of one mailbox must not keep others untold
                errors.append(error)
        told += self._domains()
        if errors:
            raise errors[0]
        return told

    def _crossing(self) -> list[WatchedMailbox]:
        with self.writer.store.database.read() as connection:
            if self._seen is None:
                self._seen = max(0, last_entry(connection) - LOOK_BACK)
            found = set[int]()
            for _ in range(NEW_PAGES):
                ids, last = ids_with_new(connection, self._seen)
                found |= set(ids)
                if last is None:
                    break
                self._seen = last
            every = ids_with_quota(connection, self._with_quota)
            told = ids_told(connection, self._told)
            self._with_quota = every[-1] if len(every) == PAGE else 0
            self._told = told[-1] if len(told) == PAGE else 0
            ids = sorted(found.union(every, told))
            return [
                one
                for start in range(0, len(ids), PAGE)
                for one in crossing(connection, ids[start : start + PAGE])
            ]

    def _tell(self, one: WatchedMailbox) -> bool:
        """Tell a crossing, if it is a rise, or note a fall; True if told."""
        level, limit = one.level, one.quota.limit
        database = self.writer.store.database
        if level < one.told or limit is None:
            with database.write() as connection:
                note_told(connection, one)
            return False
        head = self.writer.head(one.address, self.clock())
        facts = QuotaNotice(head, level, one.quota.used, limit)
        notice = self.writer.prepare(head, one.mailbox_id, build_quota_notice(facts))
        with database.write() as connection:
            if not note_told(connection, one):
                return False
            self.writer.insert(connection, notice)
        failpoint("notice.committed")
        message = notice.message.id
        self.journal.record(
            "mailbox.quota_reached", mailbox=one.address, percent=level, message=message
        )
        _log.warning("mailbox.quota_reached", mailbox=one.address, percent=level, message=message)
        return True

    def _domains(self) -> int:
        database, told = self.writer.store.database, 0
        self.usage.sum_due(database)
        levels = dict.fromkeys(LEVELS, 0)
        with database.read() as connection:
            found = [(one, self._level(connection, one)) for one in watched_domains(connection)]
            self.reached |= {("mailbox", at): n for at, n in told_mailboxes(connection).items()}
        for one, level in found:
            if level:
                levels[level] += 1
            if level != one.told:
                told += self._tell_domain(one, level)
        self.reached |= {("domain", at): number for at, number in levels.items()}
        return told

    def _level(self, connection: Connection, one: WatchedDomain) -> int:
        used = 0 if one.limit is None else self.usage.octets(connection, one.domain_id)
        return level_after(Quota(used, one.limit), one.told)

    def _tell_domain(self, one: WatchedDomain, level: int) -> bool:
        with self.writer.store.database.write() as connection:
            if not note_domain_told(connection, one, level) or level < one.told:
                return False
        self.journal.record("domain.quota_reached", domain=one.name, percent=level)
        _log.warning("domain.quota_reached", domain=one.name, percent=level)
        return True
