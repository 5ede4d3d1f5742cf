"""Asks the database again and again, so that whoever wants to know has an answer of a known age.

A database that vanished without a word leaves a question without an answer for as long as the
system takes to notice; whoever asked it himself would wait as long.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from foundation.detached_threads import aside
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.mailboxes import local_domains

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 10.0  # age of the last answer beyond which it says nothing any more


@dataclass(slots=True)
class StoreWatch:
    """The last answer of the database; to be read from any thread.

    `hosted` are the domains of ours.
    """

    database: Database
    hosted: Sequence[str] = ()
    monotonic: Callable[[], float] = time.monotonic
    _began: float | None = None  # of the question without an answer, if there is one
    _problem: str = field(default="it has not been asked yet")

    @property
    def problem(self) -> str:
        """Why the database is not known to be well now; empty if it is."""
        began = self._began
        if began is not None and (silent := self.monotonic() - began) > FRESH_SECONDS:
            return f"the database has not answered for {silent:.0f} s"
        return self._problem

    async def run(self, every: float = EVERY_SECONDS) -> None:
        """Ask now, and again and again; until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(every)

    def look(self) -> None:
        """Ask here and now; blocks.  Raises StoreUnavailable."""
        self.hosted = self._read()
        self._problem = ""

    async def ask(self) -> None:
        """Ask once, aside: however long it takes, it takes nobody else's thread."""
        self._began = self.monotonic()
        try:
            self.hosted = await aside(self._read, "store watch")
            self._problem = ""
        except StoreUnavailable as error:
            self._problem = str(error)
        except Exception as error:
            # Whatever it was, the last good answer says nothing any more.
            self._problem = f"the database answers, and is not understood: {type(error).__name__}"
            _log.exception("store.error")
        finally:
            self._began = None

    def _read(self) -> Sequence[str]:
        with self.database.read() as connection:
            return sorted(local_domains(connection))
