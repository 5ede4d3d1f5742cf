"""Summaries and search blocks made ahead of need, so that lists and searches find them ready.

Each round looks at the newest messages first, then goes on through older messages and through
mailboxes, a bounded number a round, with a pause after each batch: deliveries come first.  Several
machines may do so at once.  A message whose body cannot be read is tried again later, and keeps
nobody else waiting; a message that a list or a search needs before gets its summary there.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from foundation.ids import RANDOM_OCTETS, new_id
from mailstore.blobs.store import Store
from mailstore.errors import BlobDamaged, KeyMissing, StoreUnavailable
from mailstore.sealed.row_seal import RowSeal
from mailstore.summary_store.backlog import mailboxes_without_blocks, messages_without_summary
from mailstore.summary_store.blocks import make_next_block, remake_blocks
from mailstore.summary_store.making import make_summaries

from .rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "summaries"
ROUND_SECONDS: Final = 10.0
BATCH: Final = 100  # messages read at once
PAUSE_SECONDS: Final = 0.05  # after each batch: the disk and the write lock are for deliveries
LOOK_BACK: Final = timedelta(minutes=5)  # from the beginning of a message to its commit, mostly
PAGE: Final = 1000  # messages or mailboxes looked at by a query
MAX_PAGES: Final = 10  # of older messages, and of mailboxes, in a round
AGAIN: Final = timedelta(minutes=10)  # until an unreadable message is tried again
MAX_UNREADABLE: Final = 10_000  # unreadable messages that are remembered


@dataclass(slots=True)
class SummaryJob:
    """Rounds over messages without a summary, and over mailboxes without search blocks."""

    store: Store
    seal: RowSeal
    clock: Callable[[], datetime]
    interval: float = ROUND_SECONDS
    pause: float = PAUSE_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)
    # Last message and last mailbox that were looked at; the search for older ones goes on there.
    _message: str = field(default="", init=False)
    _mailbox: int = field(default=0, init=False)
    _unreadable: dict[str, datetime] = field(default_factory=dict, init=False)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        try:
            await self.rounds.repeat(JOB, "summaries.unmade", self.round, self.interval)
        finally:
            self._ending.set()  # stops the thread of a round in progress

    def round(self) -> int:
        """Make what is missing; the number of summaries.  Blocks.  Raises StoreUnavailable."""
        made = self._newest() + self._older()
        for _ in range(MAX_PAGES):
            if self._ending.is_set() or not self._blocks():
                break
        return made

    def _newest(self) -> int:
        after = new_id(self.clock() - LOOK_BACK, bytes(RANDOM_OCTETS))
        made = 0
        while not self._ending.is_set():
            last, number = self._page(after)
            made += number
            if last is None:
                break
            after = last
        return made

    def _older(self) -> int:
        made = 0
        for _ in range(MAX_PAGES):
            if self._ending.is_set():
                break
            last, number = self._page(self._message)
            made += number
            self._message = last or ""
            if last is None:
                break
        return made

    def _page(self, after: str) -> tuple[str | None, int]:
        """Make what a page lacks; its last message, None behind the end, and the number made."""
        with self.store.database.read() as connection:
            page = messages_without_summary(connection, after, PAGE)
        now = self.clock()
        due = [one for one in page.missing if self._unreadable.get(one, now) <= now]
        made = 0
        for start in range(0, len(due), BATCH):
            if self._ending.is_set():
                break
            made += self._make(due[start : start + BATCH], now)
            self._ending.wait(self.pause)
        return page.last, made

    def _make(self, message_ids: Sequence[str], now: datetime) -> int:
        found = make_summaries(self.store, self.seal, message_ids)
        for message_id, summary in found.items():
            if summary is not None:
                self._unreadable.pop(message_id, None)
                continue
            if message_id not in self._unreadable:
                _log.warning("summaries.unreadable", message=message_id)
            self._unreadable[message_id] = now + AGAIN
        while len(self._unreadable) > MAX_UNREADABLE:
            del self._unreadable[next(iter(self._unreadable))]
        return sum(summary is not None for summary in found.values())

    def _blocks(self) -> bool:
        """Make blocks of the next page of mailboxes; False behind the last page."""
        with self.store.database.read() as connection:
            page = mailboxes_without_blocks(connection, self._mailbox, PAGE)
        self._mailbox = page.last or 0
        for mailbox_id in page.needy:
            if self._ending.is_set():
                break
            self._mailbox_blocks(mailbox_id)
        return page.last is not None

    def _mailbox_blocks(self, mailbox_id: int) -> None:
        try:
            while not self._ending.is_set() and make_next_block(self.store, self.seal, mailbox_id):
                self._ending.wait(self.pause)
            remake_blocks(self.store, self.seal, mailbox_id)
        except (BlobDamaged, KeyMissing) as error:
            # Of this mailbox alone: the others go on.
            _log.warning("summaries.unmade", mailbox=mailbox_id, why=str(error))
        except StoreUnavailable:
            raise
        except Exception as error:
            # Any error of one mailbox: the others go on. Its text may hold content.
            _log.error("summaries.unmade", mailbox=mailbox_id, why=type(error).__name__)
