"""Maintenance process: refreshes white list and revocation lists, answers admin HTTP.

It also prunes old traces (DOMAIN §9.60), removes old failed deliveries from the queue, and frees
unreferenced bodies.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from foundation.backoff import backoff
from foundation.journal import files as journal_folder
from foundation.journal.writer import Journal
from mailstore.blobs.store import Store
from relay.connection.own_port import OwnPort
from relay.policy.trust_state import TrustState
from whitelist.errors import ArchiveError, ListRefused
from whitelist.national.freshness import is_ahead
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.trust_store import TrustStore

from ..assembly.clock import utc_now
from ..assembly.disk_trials import open_disk_guard
from ..assembly.relay import open_journal, open_operator_labels, open_scanners
from ..assembly.storage import compare_clocks, open_store, storage_folder
from ..assembly.trust import open_archive, open_crls, open_trust, open_trust_state
from ..daemon.control_channel import Orders
from ..daemon.lasting_tasks import keep_running
from ..daemon.start_args import StartArgs
from ..daemon.starting import Start
from ..http import server as admin
from ..http.answers import HealthService
from ..jobs.blob_gc import BlobGcJob
from ..jobs.body_restoring import BodyRestoreJob
from ..jobs.failed_expiry import FailedExpiryJob
from ..jobs.queue_measurement import QueueMeasurement
from ..jobs.scanner_watch import ScannerWatch
from ..jobs.self_check import SelfCheck
from ..jobs.store_watch import StoreWatch
from ..lists.crl_refresh import CrlRefresher
from ..lists.early_check import EarlyCheck
from ..lists.list_refresh import ListRefresher
from ..lists.list_sharing import ListSharing
from ..machine.clock_file import open_clock
from ..machine.clock_watching import compare_once, keep_comparing, watch_clock
from ..machine.run_directory import RunFolder
from ..monitoring.collector import Monitor
from ..monitoring.losses import LossPublisher
from ..settings.model import Settings

_log = structlog.get_logger(__name__)

CRL_SECONDS: Final = 10.0  # between two looks for a revocation list that is due
FAILED_FILE_SECONDS: Final = 2.0  # backoff: first pause after a failed check of a file
FAILED_URL_SECONDS: Final = 30.0  # the same for a URL
LONGEST_SECONDS: Final = 1800.0  # limit of this backoff
FIRST_LOOK_SECONDS: Final = 60.0  # longest wait of the alarms for the first check of all sources
ALARM_SECONDS: Final = 10.0  # between two evaluations of the alarms without a scrape
PRUNE_SECONDS: Final = 86_400.0  # between two removals of old traces
AHEAD_SECONDS: Final = 30.0  # between two tests whether the list's last check is in the future


@dataclass(frozen=True, slots=True)
class _MaintenanceParts:
    """Parts that the process needs to start."""

    store: Store
    store_watch: StoreWatch
    trust: TrustStore
    trust_state: TrustState
    crls: CrlStore
    journal: Journal


def _open(settings: Settings) -> _MaintenanceParts:
    """Open all parts.  Raises SettingsError, Outage, OSError."""
    trust = open_trust(settings)
    crls = open_crls(settings, trust)
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_store(settings)))
        trust_state = open_trust_state(settings, trust)
        store_watch = StoreWatch(store.database)
        store_watch.check()
        journal = open_journal(settings, "maintenance")
        opened.pop_all()
        return _MaintenanceParts(store, store_watch, trust, trust_state, crls, journal)


async def run_maintenance(
    settings: Settings, launch: StartArgs, orders: Orders, start: Start
) -> None:
    """Serve until told to stop.  While the process waits, the admin HTTP gives the reason."""
    (listening,) = (socket.socket(fileno=number) for number in launch.sockets)
    health = HealthService(RunFolder(settings.path(settings.storage.directory) / "run"))
    serving = asyncio.ensure_future(admin.serve(health, listening, orders))
    # If it ends by itself, the process exits, and the supervisor replaces it.
    serving.add_done_callback(lambda _: orders.stop.set())
    opened = await start.retry_in_thread(partial(_open, settings), health.wait)
    if opened is not None:
        await _maintain(settings, opened, health, start, serving)
    await serving


async def _maintain(
    settings: Settings,
    opened: _MaintenanceParts,
    health: HealthService,
    start: Start,
    serving: asyncio.Future[None],
) -> None:
    """Run all jobs while the admin HTTP is served."""
    store, trust, trust_state, journal = (
        opened.store,
        opened.trust,
        opened.trust_state,
        opened.journal,
    )
    crls = CrlRefresher(settings, opened.crls, trust)
    refresher = ListRefresher(settings, open_archive(settings), trust_state.trust)
    sharing = ListSharing(store.database, refresher)
    disk_guard = open_disk_guard(settings, store, bodies=True)
    (clock, clock_file), jumped = open_clock(settings), asyncio.Event()
    clocks = compare_clocks(settings, store.database)

    def in_doubt() -> bool:
        return clock.in_doubt or bool(clocks.apart)

    blob_gc = BlobGcJob(store, settings.storage.gc_hours * 3600, in_doubt)
    failed = timedelta(days=settings.outbound.failed_days)
    forgetting = FailedExpiryJob(store.database, journal, failed, in_doubt=in_doubt)
    labels = open_operator_labels(settings, trust_state)
    queue_measurement = QueueMeasurement(store.database, labels, utc_now)
    own_port = OwnPort.share(health.run_folder.own_port)
    self_check = SelfCheck(settings.inbound.listen, own_port)
    scanners = ScannerWatch(open_scanners(settings))
    monitor = Monitor(
        settings,
        trust_state,
        opened.store_watch,
        refresher,
        crls,
        disk_guard,
        queue_measurement,
        self_check,
        clock,
        scanners,
        sharing,
        clocks,
        health.run_folder.waiting,
    )
    await compare_once(clocks)  # before any job deletes by this clock
    looked = asyncio.Event()
    tasks = [
        keep_running(lambda: trust_state.watch(settings.whitelist.check_seconds)),
        keep_running(lambda: watch_clock(clock, journal, lambda _: jumped.set(), clock_file.keep)),
        keep_running(lambda: _keep_current(settings, trust, crls, sharing, jumped, looked)),
        keep_running(lambda: _begin_alarms(monitor, looked)),
        *([keep_running(sharing.run)] if store.database.several else []),
        keep_running(lambda: keep_comparing(clocks)),
        keep_running(opened.store_watch.run),
        keep_running(scanners.run),
        keep_running(disk_guard.watch),
        keep_running(blob_gc.run),
        keep_running(forgetting.run),
        keep_running(queue_measurement.run),
        keep_running(BodyRestoreJob(store, journal, queue_measurement).run),
        keep_running(LossPublisher(journal).run),
        keep_running(
            lambda: _prune_traces(
                storage_folder(settings) / journal_folder.NAME,
                settings.trace.keep_days,
                in_doubt,
            )
        ),
    ]
    health.monitor = monitor
    start.ready()
    await asyncio.wait({serving})
    for task in tasks:
        task.cancel()
    journal.close()
    store.close()


async def _keep_current(
    settings: Settings,
    trust: TrustStore,
    crls: CrlRefresher,
    sharing: ListSharing,
    jumped: asyncio.Event,
    looked: asyncio.Event,
) -> None:
    """Refresh the revocation lists, then the white list, whose signer they may revoke.

    Besides the regular times:
      - a jump of the clock: both at once, since ages have changed;
      - last check dated in the future: the white list at once;
      - failed check: the white list again with backoff, since a disk or network may recover soon;
      - mail that waits for the newest list (`EarlyCheck`): the white list early.
    """
    section, refresher = settings.whitelist, sharing.refresher
    seen, known = None, None
    crls_due = list_due = ahead_due = 0.0
    failures = 0
    early = EarlyCheck(refresher.archive.wanted_stamp)
    first = FAILED_URL_SECONDS if section.url else FAILED_FILE_SECONDS
    longest = min(LONGEST_SECONDS, section.refresh_seconds)
    while True:
        now = time.monotonic()
        try:
            if jumped.is_set():
                jumped.clear()
                crls_due = list_due = 0.0
            if now >= ahead_due:
                ahead_due = now + AHEAD_SECONDS
                if _checked_ahead(refresher):
                    list_due = 0.0
            if now >= crls_due:
                crls_due = now + CRL_SECONDS
                await asyncio.to_thread(crls.check, utc_now())
            at_hand = crls.store.current()
            if at_hand != known:
                refresher.trust = await asyncio.to_thread(trust.with_crls, at_hand)
            stamp = await asyncio.to_thread(refresher.source_stamp)
            again = bool(refresher.problem) and at_hand != known
            known = at_hand
            wanted = not failures and early.is_due(now)
            if stamp != seen or now >= list_due or again or wanted:
                failures += 1  # set to 0 after success
                early.begun(now)
                seen, list_due = stamp, now + backoff(failures, first, longest)
                await sharing.check()
                failures, list_due = 0, now + section.refresh_seconds
        except (ArchiveError, ListRefused) as error:
            _log.error("whitelist.refused", why=str(error))
        except Exception:
            # Any error: the next round must run, or the list expires.
            _log.exception("maintenance.error")
        looked.set()
        await asyncio.sleep(section.check_seconds)


def _checked_ahead(refresher: ListRefresher) -> bool:
    checked, now = refresher.archive.last_check(), utc_now()
    ahead = is_ahead(checked, now)
    if ahead and checked is not None:
        _log.error(
            "whitelist.checked_ahead",
            last_check=checked.isoformat(),
            now=now.isoformat(timespec="seconds"),
            detail="last check of the white list dated in the future: this machine's clock was "
            "ahead; checked again at once",
        )
    return ahead


async def _begin_alarms(monitor: Monitor, looked: asyncio.Event) -> None:
    # Alarms wait for the first check: a new store has no white list and no revocation lists yet.
    with suppress(TimeoutError):
        await asyncio.wait_for(looked.wait(), FIRST_LOOK_SECONDS)
    await asyncio.sleep(
        2 * monitor.settings.whitelist.check_seconds
    )  # until the trust state reloads
    await _watch_alarms(monitor)


async def _watch_alarms(monitor: Monitor) -> None:
    while True:
        try:
            await asyncio.to_thread(monitor.alarms)
        except Exception:
            # Any error: the next round must run, or later alarms go unnoticed.
            _log.exception("maintenance.error")
        await asyncio.sleep(ALARM_SECONDS)


async def _prune_traces(
    folder: Path, keep_days: int, in_doubt: Callable[[], bool] = lambda: False
) -> None:
    while True:
        try:
            oldest = (utc_now() - timedelta(days=keep_days)).date()
            if in_doubt():  # remove nothing: a removal by a wrong clock cannot be undone
                oldest = date.min
            pruned = await asyncio.to_thread(journal_folder.prune, folder, oldest)
            if pruned.days:
                _log.info("trace.pruned", days=pruned.days, before=oldest.isoformat())
            for problem in pruned.problems:
                _log.error("trace.unpruned", why=problem)
        except Exception:
            # Any error: the next round must run, or the disk fills.
            _log.exception("maintenance.error")
        await asyncio.sleep(PRUNE_SECONDS)
