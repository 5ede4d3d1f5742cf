"""Anchors of the audit trail: made when there are new rows, and sent off the machine.

A place that fails is tried again every minute; nothing else waits for it, not even for one that
does not answer at all, such as a file on a network disk that is gone.  An anchor names the
anchor before it, and all heads: a place that was away gets the newest ones.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from mailstore.audit.anchors import (
    KeptAnchor,
    heads_now,
    heads_of,
    last_anchor,
    make_anchor,
    mark_sent,
    newest_anchors,
)
from mailstore.audit.keys import AuditKeys
from mailstore.db.database import Database
from mailstore.errors import MailstoreError

from ..assembly.people.anchor_places import FAILURES, Place

_log = structlog.get_logger(__name__)

AGAIN_SECONDS: Final = 60.0  # between two tries while a place fails
_NO_ANSWER: Final = "it has not answered yet"
MOST: Final = 50  # anchors sent to a place at once; older ones are vouched for by these


@dataclass(slots=True)
class AnchorJob:
    """Rounds of making and sending anchors.

    `unsent`: place to time of the oldest anchor that it lacks, and reason of its last failure.
    """

    database: Database
    keys: AuditKeys
    places: Sequence[Place]
    every: timedelta
    clock: Callable[[], datetime]
    unsent: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    problem: str = ""  # reason why no anchor can be made, else empty

    async def run(self) -> None:
        """Run rounds until cancelled."""
        sending: dict[str, asyncio.Future[None]] = {}
        while True:
            await asyncio.to_thread(self.make)
            for place in self.places:
                if place.name not in sending or sending[place.name].done():
                    sending[place.name] = asyncio.ensure_future(asyncio.to_thread(self.send, place))
            if sending:
                await asyncio.wait(sending.values(), timeout=AGAIN_SECONDS)
            usual = self.every.total_seconds()
            failing = bool(self.problem or self.unsent)
            await asyncio.sleep(min(usual, AGAIN_SECONDS) if failing else usual)

    def make(self) -> None:
        """Make an anchor if one is due.  Blocks; never raises."""
        try:
            self._make()
            self.problem = ""
        except Exception as error:
            # Any error: the next round must run, or no anchor is ever made again.
            if not self.problem:
                _log.exception("audit.unanchored")
            self.problem = str(error) if isinstance(error, MailstoreError) else repr(error)

    def send(self, place: Place) -> None:
        """Send a place all anchors that it lacks.  Blocks; never raises."""
        try:
            with self.database.read() as connection:
                lacking = _lacking(newest_anchors(connection, MOST), place.name)
            if lacking:
                self._send(place, lacking)
            self.unsent.pop(place.name, None)
        except Exception as error:
            # Any error: the next round must run, or the place never gets an anchor again.
            since, why = self.unsent.get(place.name, (self.clock(), _NO_ANSWER))
            if why == _NO_ANSWER:
                if isinstance(error, (*FAILURES, MailstoreError)):
                    _log.error("audit.anchor_unsent", place=place.name, why=str(error))
                else:
                    _log.exception("audit.anchor_unsent", place=place.name)
            self.unsent[place.name] = since, str(error)

    def _make(self) -> None:
        now = self.clock()
        with self.database.read() as connection:
            last = last_anchor(connection)
            moved = heads_now(connection) != (heads_of(last) if last else {})
        # Another machine of the store may have made one: half the time is enough.
        if not moved or (last is not None and timedelta(0) <= now - last.at < self.every / 2):
            return
        with self.database.write() as connection:
            made = make_anchor(connection, self.keys, now)
        if made is not None:
            _log.info("audit.anchored", number=made.number, chains=len(made.heads))

    def _send(self, place: Place, lacking: Sequence[KeptAnchor]) -> None:
        # Before it is tried: one that never answers must raise the alarm too.
        _, why = self.unsent.get(place.name, (None, _NO_ANSWER))
        self.unsent[place.name] = lacking[0].at, why
        place.send([one.signed(self.keys) for one in lacking])
        with self.database.write() as connection:
            mark_sent(connection, [one.number for one in lacking], place.name)
        _log.info("audit.anchor_sent", place=place.name, number=lacking[-1].number)


def _lacking(newest: Sequence[KeptAnchor], place: str) -> list[KeptAnchor]:
    """Anchors newer than the last one that the place has, the oldest first."""
    found = []
    for one in newest:
        if place in one.sent_to:
            break
        found.append(one)
    return found[::-1]
