"""A new white list wakes the mail that waited because of the old one.

A peer that changes its certificate before the list knows of it, or a domain listed with a wrong
name, makes mail wait for an hour at most, and its destination be taken for dead.  Once the list
says otherwise of a domain, what waits for it is due at once.  Each courier does this after it has
taken the list over itself: due before that, mail would be tried under the old one again.

Mail that waits since nobody knew whether the list is older than the message is due as soon as a
check has found the list to be the newest.
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
from relay.delivery.attempt import NO_LIST, NOT_CERTAIN, refused_by
from relay.queue.due import destinations_with_mail
from relay.queue.model import Traffic
from relay.queue.schema import deliveries, destinations
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from relay.smtp.outcome import State
from whitelist.national.difference import compare_lists
from whitelist.national.lookup import WhiteList

_log = structlog.get_logger(__name__)

_DOMAINS: Final = 200  # asked for in one statement
_BATCH: Final = 2000  # deliveries woken in one transaction
_AGAIN: Final = 1.0  # seconds after a fault of ours, twice as long each time
_LONGEST: Final = 60.0
# What an attempt says that failed by the list; a whole error, or how one begins.
_BY_THE_LIST: Final = (NO_LIST, NOT_CERTAIN, refused_by("list"), refused_by("name"))


class ListWakeup:
    """Wakes the mail of one store; `note` and `confirmed` may be called from any thread."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._changed: SimpleQueue[frozenset[str] | None] = SimpleQueue()
        self._changed.put(None)  # what changed while no courier ran, nobody has noted
        self._confirmed = False

    def confirmed(self) -> None:
        """Remember for `wake` that a check has found the list to be the newest."""
        self._confirmed = True

    def note(self, old: WhiteList | None, new: WhiteList) -> None:
        """Remember what a new list says otherwise than the old one, for `wake`."""
        if old is None:
            self._changed.put(None)
            return
        found = compare_lists(old, new)
        domains = frozenset([*found.added, *(one.domain for one in found.recertified)])
        if domains:
            self._changed.put(domains)

    async def run(self, interval: float) -> None:
        """Look every `interval` seconds whether a list was noted, until cancelled.

        After a fault of ours, which must not end it, a little later.
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
        """Make due what waits for the domains noted; blocks.  Returns how many deliveries.

        Raises StoreUnavailable; what was noted is kept then, as after any other error.
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
        self._confirmed = False  # first: a check meanwhile wakes again
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
        """Domains noted; None for all mail that waits by the list; empty if nothing was noted."""
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
            lanes = {d for traffic in Traffic for d in destinations_with_mail(connection, traffic)}
        waiting = sorted(lanes.intersection(changed))
        woken = 0
        for start in range(0, len(waiting), _DOMAINS):
            some = waiting[start : start + _DOMAINS]
            at = destinations.c
            dead = at.domain.in_(some) & _by_the_list(at.last_error)
            woken += self._make_due(deliveries.c.domain.in_(some), dead)
        return woken

    def _make_due(self, which: ColumnElement[bool], dead: ColumnElement[bool]) -> int:
        """Make these deliveries due, and probe these dead destinations, at once.

        Those in flight too: an attempt under way may have been refused by the old list.  Not what
        the peer may have already: it waits so as not to arrive again, which no list changes.
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
                lost = connection.scalars(select(destinations.c.domain).where(*put_off)).all()
            if not ids and not lost:
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
