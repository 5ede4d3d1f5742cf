"""The courier process: takes mail from the queue to other operators."""

import asyncio
import os
import random
from collections.abc import Callable

import structlog

from mailstore.errors import StoreUnavailable
from relay import queue as relay_queue
from relay import tls
from relay.delivery import Courier, Services
from relay.delivery import Settings as DeliverySettings

from . import runtime
from .launch import Launch
from .settings import Settings

_log = structlog.get_logger(__name__)


def node_name(settings: Settings) -> str:
    """The lasting name of this installation in leases, made at first use."""
    path = runtime.storage_folder(settings) / "node"
    if not path.exists():
        # Whole or absent: two nodes of one empty name would free each other's leases.
        draft = path.with_suffix(".tmp")
        with draft.open("w", encoding="ascii") as file:
            file.write(runtime.make_id())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    return path.read_text(encoding="ascii").strip()


async def run_courier(
    settings: Settings, _launch: Launch, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Deliver until `stop`.  Raises SettingsError or OSError if it cannot start."""
    trust = runtime.open_trust(settings)
    client_tls = runtime.open_tls(settings, tls.client_context, trust)
    store = runtime.open_store(settings)
    perimeter = runtime.open_perimeter(settings, trust)
    node = node_name(settings)
    try:
        # The supervisor's lock makes this the only courier of the node: older leases are orphans.
        with store.database.write() as connection:
            freed = relay_queue.release(connection, node, runtime.clock())
    except StoreUnavailable as error:
        raise OSError(str(error)) from error
    _log.info("courier.started", leases_freed=freed)
    journal = runtime.open_journal(settings, "courier")
    courier = Courier(
        Services(
            store=store,
            perimeter=perimeter,
            router=runtime.make_router(settings),
            tls=client_tls,
            journal=journal,
            clock=runtime.clock,
            randomness=random.SystemRandom(),
        ),
        DeliverySettings(
            hostname=settings.operator.hostname,
            owner=f"{node}:{os.getpid()}",
            retry=runtime.retry_policy(settings),
            concurrency=settings.outbound.concurrency,
            poll=settings.outbound.poll_seconds,
        ),
    )
    watch = asyncio.create_task(perimeter.watch(settings.whitelist.check_seconds))
    running = asyncio.create_task(courier.run(stop))
    ready()
    await stop.wait()
    watch.cancel()
    done, _ = await asyncio.wait({running}, timeout=settings.process.stop_seconds)
    if not done:
        courier.cancel()
    await running
    journal.close()
    store.close()
