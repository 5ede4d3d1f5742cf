"""Sealing of patients' addresses that an older version left in clear, once after an upgrade.

Table by table, a page at a time, with rests, beside mail and beside other machines; a stop or a
crash costs a page (`mailstore.messages.row_sealing`). At the end a small SQLite file is written
anew, since pages of rows removed long ago may still have such addresses; a large one takes minutes,
in which no mail could be stored, so its administrator chooses the time (docs/data-protection.md).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from mailstore.db.database import Database
from mailstore.db.sealed_columns import NO_SEAL
from mailstore.messages.row_sealing import CleanFile, sealed_tables
from mailstore.sealed.address_seal import AddressSeal

from ..assembly.database.database_check import TABLES
from .rounds import JobRounds

_log = structlog.get_logger(__name__)

JOB: Final = "row-sealing"
ROUND_SECONDS: Final = 3600.0
REST: Final = 3.0  # rest after a page, in durations of that page
SMALL_FILE: Final = 128 * 1024 * 1024  # octets; written anew within seconds


@dataclass(slots=True)
class RowSealingJob:
    """Rounds over the tables with patients' addresses; when all are done, a round does nothing."""

    database: Database
    clock: Callable[[], datetime]
    interval: float = ROUND_SECONDS
    rounds: JobRounds = field(default_factory=JobRounds)

    async def run(self) -> None:
        """Run a round every `interval` seconds until cancelled."""
        self.rounds.begin(JOB)
        while True:
            with self.rounds.watch(JOB, "rows.unsealed"):
                await self.round()
            await asyncio.sleep(self.rounds.pause(JOB, self.interval))

    async def round(self) -> None:
        """Seal what is left. Raises StoreUnavailable."""
        seal = self.database.seal
        if seal is NO_SEAL or (isinstance(seal, AddressSeal) and not seal.encrypt):
            return
        loop = asyncio.get_running_loop()
        for table in sealed_tables(TABLES, self.database):
            if await asyncio.to_thread(lambda one: one.finished, table):
                continue
            replaced, more = 0, True
            while more:
                begun = loop.time()
                page = await asyncio.to_thread(table.next_page, self.clock())
                replaced, more = replaced + page.replaced, page.more
                await asyncio.sleep((loop.time() - begun) * REST if more else 0)
            _log.info("rows.sealed", table=table.table.name, values=replaced)
        await asyncio.to_thread(self._clean)

    def _clean(self) -> None:
        file = CleanFile(self.database)
        if file.finished:
            return
        large = self.database.file_octets() > SMALL_FILE
        if large:
            _log.warning("rows.file_not_cleaned", octets=self.database.file_octets())
        elif not self.database.rewrite_file():
            return  # a reader holds it up: the next round tries again
        file.finish(self.clock())
