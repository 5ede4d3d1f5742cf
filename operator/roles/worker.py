"""Worker process: accepts connections of peers, admits their mail and makes it durable."""

import asyncio
import socket
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.acceptance.disk_guard import DiskGuard
from relay.acceptance.group_commit import GroupCommitter
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.connection import worker_load
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.own_port import OwnPort
from relay.connection.worker_load import WorkerLoad
from relay.policy import tls
from relay.policy.trust_state import TrustState
from relay.server.context import SessionContext
from relay.server.listener import Listener
from relay.server.peer_service import peer_session

from ..assembly import policies
from ..assembly.clock import make_id, utc_now
from ..assembly.disk_trials import open_disk_guard
from ..assembly.journal import open_journal
from ..assembly.relay import open_scanners, postmaster_address
from ..assembly.storage import open_store
from ..assembly.trust import open_tls, open_trust, open_trust_state
from ..daemon import malloc_trim
from ..daemon.control_channel import Orders
from ..daemon.lasting_tasks import keep_running
from ..daemon.start_args import StartArgs
from ..daemon.starting import Start
from ..jobs.strangers_summary import sum_up_strangers, tell_of_strangers
from ..machine.clock_file import open_clock
from ..machine.clock_watching import watch_clock
from ..machine.run_directory import RunFolder
from ..monitoring.losses import LossPublisher
from ..settings.model import Settings
from ..settings.quotas import quotas
from .turning_away import StartupResponder


@dataclass(frozen=True, slots=True)
class _WorkerParts:
    """Parts that a worker needs to start."""

    server_tls: tls.ReloadingContext
    store: Store
    trust_state: TrustState
    disk_guard: DiskGuard
    journal: Journal


def _open(settings: Settings) -> _WorkerParts:
    """Open all parts.  Raises SettingsError, Outage, OSError."""
    trust = open_trust(settings)
    server_tls = open_tls(settings, tls.server_context, trust)
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_store(settings)))
        trust_state = open_trust_state(settings, trust)
        disk_guard = open_disk_guard(settings, store)
        journal = open_journal(settings, "worker")
        opened.pop_all()
        return _WorkerParts(server_tls, store, trust_state, disk_guard, journal)


async def run_worker(settings: Settings, launch: StartArgs, orders: Orders, start: Start) -> None:
    """Serve until told to stop.  While the process waits, peers get 421."""
    sockets = [socket.socket(fileno=number) for number in launch.sockets]
    run_folder = RunFolder(settings.path(settings.storage.directory) / "run")
    turning_away = StartupResponder(
        sockets, partial(worker_load.is_any_held, run_folder.worker_loads)
    )
    opened = await start.retry_in_thread(partial(_open, settings), lambda _: turning_away.begin())
    await turning_away.end()
    if opened is None:
        return
    store, trust_state, disk_guard, journal = (
        opened.store,
        opened.trust_state,
        opened.disk_guard,
        opened.journal,
    )
    committer = GroupCommitter(store, utc_now, disk_guard.failed, journal.record)
    limits = policies.limits(settings)
    load = WorkerLoad.take(run_folder.worker_loads)
    context = SessionContext(
        hostname=settings.operator.hostname,
        limits=limits,
        policy=policies.policy(settings),
        trust_state=trust_state,
        recipient_lookup=RecipientLookup(
            store.database, postmaster=postmaster_address(settings), now=utc_now
        ),
        blobs=store.blobs,
        disk_guard=disk_guard,
        scanners=open_scanners(settings),
        committer=committer,
        journal=journal,
        connection_counts=ConnectionCounts(limits, load.set_sessions),
        tls=opened.server_tls,
        clock=utc_now,
        new_id=make_id,
        debug_peers=launch.debug_peers,
        own_port=OwnPort.share(run_folder.own_port),
        quotas=quotas(settings),
    )
    clock, _ = open_clock(settings)
    watches = [
        keep_running(lambda: trust_state.watch(settings.whitelist.check_seconds)),
        keep_running(disk_guard.watch),
        keep_running(malloc_trim.keep_trimmed),
        keep_running(partial(watch_clock, clock, journal)),
        keep_running(LossPublisher(journal).run),
        keep_running(lambda: sum_up_strangers(context)),
    ]
    listeners = [Listener(peer_session, context, load) for _ in sockets]
    for listener, bound in zip(listeners, sockets, strict=True):
        listener.start(bound)
    start.ready()
    await orders.stop.wait()
    grace = settings.process.stop_seconds
    await asyncio.gather(*(listener.stop(grace, orders.hurry) for listener in listeners))
    for watch in watches:
        watch.cancel()
    await committer.close()
    tell_of_strangers(context)
    journal.close()
    store.close()
