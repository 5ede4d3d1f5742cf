"""Ownership of this machine's name in a shared database, secured before its leases are freed.

A copy of the folder has the same name.  So the row of a name in table `machines` has a proof that
no copy has (`node_name.proof`), and a beat that the live courier counts up
(`relay.machines.presence`).  If the proof differs, the machine rebooted or moved, or this is a
copy.  Then the beat is watched: if it changes, another machine lives under this name, and this
installation gets a new name.  SQLite has only one machine.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.machines.presence import MachinePresence
from relay.machines.rows import Machine

from ..assembly.clock import utc_now
from ..errors import Outage
from ..settings.model import Settings, SettingsError
from .node_name import new_node_name, node_name, proof

_log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 3.0  # between two beats of a live machine
WATCH_SECONDS: Final = 15.0  # time without a beat after which a machine counts as gone
AGAIN_SECONDS: Final = 5.0  # pause before the next attempt to write a new name

Record = Callable[..., None]


async def hold_name(
    settings: Settings,
    database: Database,
    stop: asyncio.Event,
    record: Record,
    waits: Callable[[], None] = lambda: None,
) -> MachinePresence | None:
    """Take this machine's name, or a new name if another live machine has it.

    `waits`: called if the beat must be watched.  None if `stop` is set meanwhile.  The caller holds
    the lock of this machine's courier.  Raises SettingsError and StoreUnavailable.
    """
    while True:
        name = node_name(settings)
        held = MachinePresence(database, name, proof(settings), utc_now, random.SystemRandom())
        seen = await asyncio.to_thread(held.read)
        if seen is not None and seen.proof != held.proof:
            waits()
            _log.info("machine.watching", machine=name, seconds=WATCH_SECONDS)
            if await _moves(held, seen, stop):
                await rename(settings, name, stop, record)
                continue
        if stop.is_set():
            return None
        if await asyncio.to_thread(held.claim, seen):
            return held


async def _moves(held: MachinePresence, seen: Machine, stop: asyncio.Event) -> bool:
    """Whether the beat changes within WATCH_SECONDS.

    The time starts again whenever the database is unreachable: no machine could write a beat.
    """
    end = time.monotonic() + WATCH_SECONDS
    while not stop.is_set() and time.monotonic() < end:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_SECONDS / 3)
        try:
            now = await asyncio.to_thread(held.read)
        except StoreUnavailable as error:
            _log.warning("machine.unseen", machine=held.name, detail=str(error))
            end = time.monotonic() + WATCH_SECONDS
        else:
            if now is not None and (now.proof, now.beat) != (seen.proof, seen.beat):
                return True
    return False


async def rename(settings: Settings, name: str, stop: asyncio.Event, record: Record) -> None:
    """Give this installation a new name; retry until it is on disk or `stop` is set.

    Attempts in flight finish under the tokens of their leases.  The other machine's leases are
    not touched.
    """
    while True:
        try:
            new = await asyncio.to_thread(new_node_name, settings, name)
        except (Outage, SettingsError) as error:
            _log.error("machine.unnamed", machine=name, why=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), AGAIN_SECONDS)
            if stop.is_set():
                return
        else:
            facts = {
                "machine": new,
                "before": name,
                "detail": f"copy of a running machine: both had the name {name}. New name of this "
                f"machine: {new}; leases of the other machine are not touched. A copy needs its "
                "own addresses and certificate",
            }
            _log.error("machine.copy", **facts)
            record("machine.copy", **facts)
            return
