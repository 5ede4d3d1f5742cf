"""Regular probe of the database; readers get the last answer, of a known age, at once.

If the database host vanishes, a query blocks until TCP gives up.  Only the probe waits for that.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from foundation.detached_threads import run_detached
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import local_domains
from mailstore.mailboxes.sent_counts import limited_by_type

from ..assembly.clock import utc_now

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 10.0  # a longer probe is reported as no answer


_Found = tuple[Sequence[str], Mapping[MailboxType, int]]


@dataclass(slots=True)
class StoreWatch:
    """Last answer of the database.  May be read from any thread.

    `hosted`: our mail domains, sorted.  `limited`: number of mailboxes by type that the limit of
    sending stopped within this hour or the last.
    """

    database: Database
    hosted: Sequence[str] = ()
    limited: Mapping[MailboxType, int] = field(default_factory=dict)
    monotonic: Callable[[], float] = time.monotonic
    _began: float | None = None  # start of the probe in progress, None if there is none
    _problem: str = field(default="not checked yet")

    @property
    def problem(self) -> str:
        """Reason why the database counts as unavailable; empty if it answers."""
        began = self._began
        if began is not None and (silent := self.monotonic() - began) > FRESH_SECONDS:
            return f"no answer from the database for {silent:.0f} s"
        return self._problem

    async def run(self, every: float = EVERY_SECONDS) -> None:
        """Probe every `every` seconds until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(every)

    def check(self) -> None:
        """Probe in this thread; blocks.  Raises StoreUnavailable."""
        self._take(self._read())
        self._problem = ""

    async def ask(self) -> None:
        """Probe once in a thread of its own, so that a hanging query takes no pool thread."""
        self._began = self.monotonic()
        try:
            self._take(await run_detached(self._read, "store watch"))
            self._problem = ""
        except StoreUnavailable as error:
            self._problem = str(error)
        except Exception as error:
            # Any error: the last good answer is not valid any more.
            self._problem = f"unexpected answer of the database: {type(error).__name__}"
            _log.exception("store.error")
        finally:
            self._began = None

    def _take(self, found: _Found) -> None:
        self.hosted, self.limited = found

    def _read(self) -> _Found:
        with self.database.read() as connection:
            limited = limited_by_type(connection, utc_now())
            return sorted(local_domains(connection)), limited
