"""Courier process: delivers mail from the queue to other operators."""

import asyncio
import fcntl
import os
import random
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, Final

import structlog

from foundation.clock_watch import ClockWatch, Jump
from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.delivery.events import begin_counters
from relay.delivery.manager import DeliveryConfig, DeliveryManager, DeliveryServices
from relay.machines.clock_difference import ClockComparison
from relay.policy import tls
from relay.policy.trust_state import TrustState
from relay.queue.clock_repair import Waits
from relay.queue.clock_repairer import ClockRepairer
from relay.queue.leases import release
from relay.queue.list_wakeup import ListWakeup
from relay.queue.model import LEASE, PROBE

from ..assembly import policies
from ..assembly.clock import utc_now
from ..assembly.journal import open_journal
from ..assembly.relay import make_router, open_operator_labels, postmaster_address
from ..assembly.storage import compare_clocks, open_store, storage_folder
from ..assembly.trust import open_tls, open_trust, open_trust_state
from ..daemon.control_channel import Orders
from ..daemon.lasting_tasks import keep_running
from ..daemon.start_args import StartArgs
from ..daemon.starting import Start
from ..machine.clock_file import open_clock
from ..machine.clock_watching import watch_clock
from ..machine.node_name import node_name
from ..machine.pulse import begin_pulse
from ..monitoring.losses import LossPublisher
from ..settings.model import Settings

_log = structlog.get_logger(__name__)

LOCK_POLL_SECONDS: Final = 0.1  # between two attempts to get the courier lock


async def _acquire_lock(turn: IO[str], stop: asyncio.Event) -> bool:
    """Wait for the lock that the previous courier holds; False if told to stop first."""
    while not _is_ours(turn):
        if stop.is_set():
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOCK_POLL_SECONDS)
    return True


def _is_ours(turn: IO[str]) -> bool:
    """Try to take the lock of this machine's courier; the exit of a process releases it."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mender(
    settings: Settings,
    clocks: ClockComparison,
    journal: Journal,
    node: str,
    clock: ClockWatch,
) -> ClockRepairer:
    """Mender of times in the queue that were written while the clock was ahead."""
    probing = policies.window_policy(settings).probing
    waits = Waits.of(policies.retry_policy(settings), probing, PROBE, LEASE)
    return ClockRepairer(
        clocks.database,
        waits,
        utc_now,
        journal.record,
        node,
        lambda: clock.proven,
        clocks.compare,
    )


@dataclass(frozen=True, slots=True)
class _DeliveryParts:
    """Parts that a courier needs to start.

    `turn`: file of the courier lock.  It is released only by the exit of the process, because a
    thread that frees leases may run until then.
    """

    client_tls: tls.ReloadingContext
    store: Store
    trust_state: TrustState
    turn: IO[str]


def _open(settings: Settings) -> _DeliveryParts:
    """Open all parts.  Raises SettingsError, Outage, OSError."""
    trust = open_trust(settings)
    client_tls = open_tls(settings, tls.client_context, trust)
    node_name(settings)  # an error of the name's file is reported first
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_store(settings)))
        trust_state = open_trust_state(settings, trust)
        turn = (storage_folder(settings) / "run" / "courier").open("w")
        opened.pop_all()
        return _DeliveryParts(client_tls, store, trust_state, turn)


def _free(store: Store, node: str) -> int:
    """Free the leases of earlier couriers of this machine; the lock proves that none is left.

    Returns the number of leases.  Raises StoreUnavailable.
    """
    with store.database.write() as connection:
        return release(connection, node, utc_now())


async def run_courier(settings: Settings, _launch: StartArgs, orders: Orders, start: Start) -> None:
    """Deliver until told to stop.

    A courier that replaces another courier reports ready at once, and delivers after its exit.
    """
    opened = await start.retry_in_thread(partial(_open, settings))
    if opened is None:
        return
    trust_state = opened.trust_state
    with closing(opened.store) as store:
        if not _is_ours(opened.turn):
            start.ready()
            if not await _acquire_lock(opened.turn, orders.stop):
                return
        journal = open_journal(settings, "courier")
        clocks = compare_clocks(settings, store.database)
        pulse = await start.retry(
            lambda: begin_pulse(settings, clocks, journal.record, orders.stop, start.ready)
        )
        if pulse is None:
            journal.close()
            return
        freed = await start.retry_in_thread(partial(_free, store, pulse.node))
        if freed is None:
            journal.close()
            return
        beating = keep_running(pulse.run)  # until the last attempt has ended
        _log.info("courier.started", machine=pulse.node, leases_freed=freed)
        operators = open_operator_labels(settings, trust_state)
        begin_counters(operators.all)
        clock, _ = open_clock(settings)
        mender = _mender(settings, clocks, journal, pulse.node, clock)
        manager = DeliveryManager(
            DeliveryServices(
                store=store,
                trust_state=trust_state,
                router=make_router(settings, trust_state),
                tls=opened.client_tls,
                journal=journal,
                clock=utc_now,
                randomness=random.SystemRandom(),
                operator_of=operators.of,
                steady=clock.steady,
                takes_work=pulse.takes_work,
            ),
            DeliveryConfig(
                hostname=settings.operator.hostname,
                owner=f"{pulse.node}:{os.getpid()}",
                retry=policies.retry_policy(settings),
                concurrency=settings.outbound.concurrency,
                poll=settings.outbound.poll_seconds,
                windows=policies.window_policy(settings),
                stuck=settings.outbound.stuck_seconds,
                postmaster=postmaster_address(settings),
            ),
        )
        waking = ListWakeup(store.database, utc_now)
        trust_state.on_new_list = waking.note_new_list
        trust_state.on_confirmed = waking.note_newest
        check = settings.whitelist.check_seconds

        def jumped(_jump: Jump) -> None:
            pulse.check_now()
            mender.jumped()

        watches = [
            keep_running(lambda: trust_state.watch(check)),
            keep_running(lambda: watch_clock(clock, journal, jumped)),
            keep_running(mender.run),
            keep_running(LossPublisher(journal).run),
            keep_running(lambda: waking.run(check)),
        ]
        running = asyncio.create_task(manager.run(orders.stop))
        # If it ends by itself, the process exits, and the supervisor replaces it.
        running.add_done_callback(lambda _: orders.stop.set())
        start.ready()
        await orders.stop.wait()
        for watch in watches:
            watch.cancel()
        done, _ = await asyncio.wait({running}, timeout=settings.process.stop_seconds)
        if not done:
            manager.cancel()
        await running
        beating.cancel()
        journal.close()
