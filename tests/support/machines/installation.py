"""Installation that shares a database with others; its courier holds its name."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator.assembly.storage import compare_clocks
from mssante_operator.machine import node_name
from mssante_operator.machine.pulse import Pulse, begin_pulse
from mssante_operator.machine.record import hold_name
from mssante_operator.settings.model import Settings
from relay.machines.presence import MachinePresence


class Switched(Database):
    """Database that can be made unreachable."""

    away = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._ask()
        with super().read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._ask()
        with super().write() as connection:
            yield connection

    def _ask(self) -> None:
        if self.away:
            raise StoreUnavailable("it is away")


@dataclass
class Site:
    """Installation, with its courier's operations on its name."""

    settings: Settings
    database: Switched
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    waited: int = 0

    @property
    def name(self) -> str:
        return node_name.node_name(self.settings)

    def record(self, event: str, **facts: Any) -> None:
        self.events.append((event, facts))

    def waits(self) -> None:
        self.waited += 1

    async def hold(self) -> MachinePresence | None:
        return await hold_name(self.settings, self.database, self.stop, self.record, self.waits)

    async def begin(self) -> Pulse:
        clocks = compare_clocks(self.settings, self.database)
        began = await begin_pulse(self.settings, clocks, self.record, self.stop, self.waits)
        assert began is not None
        return began

    @asynccontextmanager
    async def living(self) -> AsyncIterator[Pulse]:
        """Its courier beats during the block."""
        began = await self.begin()
        task = asyncio.create_task(began.run())
        try:
            yield began
        finally:
            task.cancel()
            await asyncio.wait({task})

    def restarted_machine(self) -> None:
        """Change the proof like a reboot: same file, other boot identifier."""
        path = Path(self.settings.path("data")) / "node"
        text = path.read_text()
        path.with_suffix(".new").write_text(
            text
        )  # the old file still exists, so the inode is another
        path.with_suffix(".new").replace(path)
