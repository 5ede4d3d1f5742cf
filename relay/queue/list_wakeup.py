"""List wake-up: a new white list makes mail due that waited because of the old list.

A peer may change its certificate before the list has the new name, or the list may have a wrong
name.  Then mail waits up to an hour, and the destination is declared dead.  Once a new list differs
for a domain, its waiting mail is due at once.  Each courier does this after it has adopted the list
itself: earlier, mail would be tried under the old list again.
Mail that waits because the list may be older than the message is due as soon as a check has found
the list to be the newest.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Final

import structlog
from sqlalchemy import ColumnElement, false, or_, select, update

from foundation.backoff import backoff
from foundation.best_effort import best_effort
from mailstore.db.database import Database
from mailstore.db.dialect import disable_statement_timeout
from mailstore.errors import StoreUnavailable
from relay.queue.due import destinations_with_mail
from relay.queue.model import Traffic
from relay.queue.schema import deliveries, destinations
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from relay.smtp.outcome import State
from whitelist.national.difference import compare_lists
from whitelist.national.lookup import WhiteList

_log = structlog.get_logger(__name__)

# Error texts of attempts that failed because of the list; kept in the queue.
NO_LIST: Final = "there is no usable white list now"
NOT_CERTAIN: Final = "not certain by the white list at hand, which may be older than the message: "


def refused_by(rule: str) -> str:
    """Start of the error text of an attempt whose server was refused by a rule."""
    return f"server refused by rule {rule}: "


_DOMAINS: Final = 200  # domains per statement
_BATCH: Final = 2000  # deliveries per transaction
_AGAIN: Final = 1.0  # seconds to wait after an error of ours, doubled each time
_LONGEST: Final = 60.0
# Errors of attempts that failed because of the list: a whole error, or its start.
_BY_THE_LIST: Final = (NO_LIST, NOT_CERTAIN, refused_by("list"), refused_by("name"))


class ListWakeup:
    """Wakes the mail of one store; `note_new_list` and `note_newest` are thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._changed: SimpleQueue[frozenset[str] | None] = SimpleQueue()
        self._changed.put(None)  # changes while no courier ran are unknown: None means all
        self._confirmed = False

    def note_newest(self) -> None:
        """Remember for `wake` that a check has found the list to be the newest."""
        self._confirmed = True

    def note_new_list(self, old: WhiteList | None, new: WhiteList) -> None:
        """Remember for `wake` the domains for which the new list differs from the old list."""
        if old is None:
            self._changed.put(None)
            return
        found = compare_lists(old, new)
        domains = frozenset([*found.added, *(one.domain for one in found.recertified)])
        if domains:
            self._changed.put(domains)

    async def run(self, interval: float) -> None:
        """Call `wake` every `interval` seconds, until cancelled.

        After an error of ours, which must not end this task, somewhat later.
        """
        errors = 0
        while True:
            try:
                await asyncio.to_thread(self.wake)
                errors = 0
            except StoreUnavailable as error:
                with best_effort:
                    _log.error("queue.not_woken", why=str(error))
            except Exception:
                errors += 1
                with best_effort:
                    _log.exception("queue.waking_error")
                await asyncio.sleep(backoff(errors, _AGAIN, _LONGEST))
            await asyncio.sleep(interval)

    def wake(self) -> int:
        """Make the waiting mail of the noted domains due; return the number of deliveries.

        Blocks.  Raises StoreUnavailable; noted domains are kept then, as after any other error.
        """
        woken = self._wake_uncertain()
        while (changed := self._next()) != frozenset():
            try:
                found = self._wake(changed)
            except Exception:
                self._changed.put(changed)
                raise
            if found:
                woken += found
                _log.info("queue.woken_by_list", deliveries=found)
        return woken

    def _wake_uncertain(self) -> int:
        if not self._confirmed:
            return 0
        self._confirmed = False  # first: a check in the meantime sets it again
        try:
            uncertain = deliveries.c.last_error.startswith(NOT_CERTAIN, autoescape=True)
            woken = self._make_due(uncertain, false())
        except Exception:
            self._confirmed = True
            raise
        if woken:
            _log.info("queue.woken_by_check", deliveries=woken)
        return woken

    def _next(self) -> frozenset[str] | None:
        """Noted domains; None: all mail that waits because of the list; empty: none noted."""
        try:
            return self._changed.get_nowait()
        except Empty:
            return frozenset()

    def _wake(self, changed: Collection[str] | None) -> int:
        if changed is None:
            return self._make_due(
                _by_the_list(deliveries.c.last_error), _by_the_list(destinations.c.last_error)
            )
        with self._database.read() as connection:
            with_mail = {
                d for traffic in Traffic for d in destinations_with_mail(connection, traffic)
            }
        waiting = sorted(with_mail.intersection(changed))
        woken = 0
        for start in range(0, len(waiting), _DOMAINS):
            some = waiting[start : start + _DOMAINS]
            at = destinations.c
            dead = at.domain.in_(some) & _by_the_list(at.last_error)
            woken += self._make_due(deliveries.c.domain.in_(some), dead)
        return woken

    def _make_due(self, which: ColumnElement[bool], dead: ColumnElement[bool]) -> int:
        """Make these deliveries due, and probe these dead destinations, at once.

        Deliveries in flight too: the old list may refuse their attempts.  Not after an unknown
        outcome: the wait avoids a duplicate, and no list changes that.
        """
        d, last, woken = deliveries.c, 0, 0
        known = or_(d.unknown_outcomes == 0, _by_the_list(d.last_error))
        waits = (d.state == State.WAITING, d.held.is_(None), known, which)
        while True:
            now = self._clock()
            with self._database.read() as connection:
                disable_statement_timeout(connection)
                late = select(d.id).where(*waits, d.due > now, d.id > last).order_by(d.id)
                ids = connection.scalars(late.limit(_BATCH)).all()
                put_off = (dead, destinations.c.dead_until > now)
                dead_domains = connection.scalars(
                    select(destinations.c.domain).where(*put_off)
                ).all()
            if not ids and not dead_domains:
                return woken
            with self._database.write() as connection:
                of_these = update(deliveries).where(d.id.in_(ids), *waits)
                woken += connection.execute(of_these.values(due=now)).rowcount
                connection.execute(update(destinations).where(*put_off).values(dead_until=now))
                notify_in_transaction(connection)
            notify_after_commit(self._database.url)
            if len(ids) < _BATCH:
                return woken
            last = ids[-1]


def _by_the_list(error: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(*(error.startswith(text, autoescape=True) for text in _BY_THE_LIST))
