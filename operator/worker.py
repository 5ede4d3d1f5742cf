"""The worker process: listens for peers, admits their mail and makes it durable."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from relay import tls
from relay.acceptance import Intake
from relay.context import SessionContext
from relay.directory import Directory
from relay.listener import Listener
from relay.occupancy import Occupancy
from relay.own_port import OwnPort
from relay.seats import Seat

from . import memory, policies, runtime
from .clock_file import open_clock
from .clock_watching import watch_clock
from .launch import Launch
from .lifeline import Orders
from .losses import Publisher
from .quota_section import quotas
from .run_folder import RunFolder
from .settings import Settings
from .strangers import sum_up_strangers, tell_of_strangers
from .tasks import keep


async def run_worker(
    settings: Settings, launch: Launch, orders: Orders, ready: Callable[[], None]
) -> None:
    """Serve until told to stop.  Raises SettingsError or OSError if it cannot start."""
    trust = runtime.open_trust(settings)
    server_tls = runtime.open_tls(settings, tls.server_context, trust)
    store = runtime.open_store(settings)
    perimeter = runtime.open_perimeter(settings, trust)
    spool, journal = runtime.open_spool(settings, store), runtime.open_journal(settings, "worker")
    intake = Intake(store, runtime.clock, spool.failed, journal.record)
    limits = policies.limits(settings)
    run_folder = RunFolder(runtime.storage_folder(settings) / "run")
    seat = Seat.take(run_folder.seats)
    context = SessionContext(
        hostname=settings.operator.hostname,
        limits=limits,
        policy=policies.policy(settings),
        perimeter=perimeter,
        directory=Directory(store.database),
        blobs=store.blobs,
        spool=spool,
        scanning=runtime.open_scanning(settings),
        intake=intake,
        journal=journal,
        occupancy=Occupancy(limits, seat.have),
        tls=server_tls,
        clock=runtime.clock,
        new_id=runtime.make_id,
        postmaster=runtime.postmaster(settings),
        debug_peers=launch.debug_peers,
        own_port=OwnPort.share(run_folder.own_port),
        quotas=quotas(settings),
    )
    clock, _ = open_clock(settings)
    watches = [
        keep(lambda: perimeter.watch(settings.whitelist.check_seconds)),
        keep(spool.watch),
        keep(memory.keep_trimmed),
        keep(partial(watch_clock, clock, journal)),
        keep(Publisher(journal).run),
        keep(lambda: sum_up_strangers(context)),
    ]
    listeners = [Listener(context, seat) for _ in launch.sockets]
    for listener, number in zip(listeners, launch.sockets, strict=True):
        listener.start(socket.socket(fileno=number))
    ready()
    await orders.stop.wait()
    grace = settings.process.stop_seconds
    await asyncio.gather(*(listener.stop(grace, orders.hurry) for listener in listeners))
    for watch in watches:
        watch.cancel()
    await intake.close()
    tell_of_strangers(context)
    journal.close()
    store.close()
