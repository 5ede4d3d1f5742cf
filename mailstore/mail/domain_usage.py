"""Octets that domains with a quota hold, remembered by a process: cheap enough for each RCPT.

All messages of a domain are summed at the first question and again after `SUM_SECONDS`, or later
if summing takes long: at most a twentieth of the time goes into it. In between, at most once in
`FRESH_SECONDS`, the octets of new messages are added, those of all domains by one query. So what
people remove counts until the next sum; what arrives counts after `FRESH_SECONDS`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, bindparam, select

from mailstore.db.database import Database
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.mailboxes.usage import OCTETS, domain_octets

FRESH_SECONDS: Final = 2.0
SUM_SECONDS: Final = 60.0
REST: Final = 19  # pause after a sum, as a multiple of its time
IDLE_SECONDS: Final = 600.0  # nobody asked for so long: summing costs less than catching up

# Without a condition on the domain: SQLite would go through its mailboxes, not the new entries.
_NEW = (
    select(mailboxes.c.domain_id, entries.c.id, OCTETS)
    .join_from(entries, messages)
    .join(mailboxes, mailboxes.c.id == entries.c.mailbox_id)
    .where(entries.c.id > bindparam("after"))
    .order_by(entries.c.id)
)


@dataclass(slots=True)
class _Known:
    """Sum of a domain up to the entry `last`; to be summed anew from `due` on."""

    octets: int
    last: int
    due: float


@dataclass(slots=True)
class DomainUsage:
    """Usage of domains, for any thread; `clock` is monotonic, in seconds."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[int, _Known] = field(default_factory=dict, init=False)
    _fresh_until: float = field(default=float("-inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def octets(self, conn: Connection, domain_id: int) -> int:
        """Octets of a domain's messages, at most `FRESH_SECONDS` old, but for removals."""
        with self._lock:
            if self.clock() >= self._fresh_until + IDLE_SECONDS:
                self._known.clear()
            elif self.clock() >= self._fresh_until:
                self._add_new(conn)
            known = self._known.get(domain_id)
        if known is None:
            known = self._sum(conn, domain_id)
        return known.octets

    def any_due(self) -> bool:
        """True if a domain is to be summed anew."""
        with self._lock:
            return bool(self._due())

    def sum_due(self, database: Database) -> None:
        """Sum anew what is due; blocks, and nobody else meanwhile. Raises StoreUnavailable."""
        with self._lock:
            due = self._due()
        for domain_id in due:
            with database.read() as conn:
                self._sum(conn, domain_id)

    def _due(self) -> list[int]:
        now = self.clock()
        return [domain_id for domain_id, known in self._known.items() if now >= known.due]

    def _add_new(self, conn: Connection) -> None:
        if self._known:
            after = min(one.last for one in self._known.values())
            for domain_id, entry_id, octets in conn.execute(_NEW, {"after": after}):
                known = self._known.get(domain_id)
                if known is not None and entry_id > known.last:
                    known.octets += octets
                after = entry_id
            for one in self._known.values():
                one.last = max(one.last, after)
        self._fresh_until = self.clock() + FRESH_SECONDS

    def _sum(self, conn: Connection, domain_id: int) -> _Known:
        begun = self.clock()
        octets, last = domain_octets(conn, domain_id)
        now = self.clock()
        known = _Known(octets, last, now + max(SUM_SECONDS, REST * (now - begun)))
        with self._lock:
            if not self._known:
                self._fresh_until = now + FRESH_SECONDS
            self._known[domain_id] = known
        return known
