"""Maintenance process: refreshes white list and revocation lists, answers admin HTTP.

It also prunes old traces (DOMAIN §9.60), removes old failed deliveries from the queue, erases the
content of deleted mailboxes, tells holders of administrators' accesses, acts on mailboxes long
unused, makes summaries of messages, and frees unreferenced bodies.
unused, warns mailboxes that are nearly full, and frees unreferenced bodies.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from foundation.journal import files as journal_folder
from foundation.journal.writer import Journal
from mailstore.audit.event import Door
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.store import Store
from relay.connection.own_port import OwnPort
from relay.machines.list_sharing import ListSharing
from relay.policy.trust_state import TrustState
from whitelist.refresh.crl_refresh import CrlRefresher
from whitelist.refresh.refresh_loop import RefreshIntervals, keep_current

from ..assembly.clock import make_id, utc_now
from ..assembly.disk_trials import open_disk_guard
from ..assembly.journal import open_journal
from ..assembly.people.anchor_places import open_places
from ..assembly.people.audit import open_trail
from ..assembly.relay import (
    make_dsn_writer,
    open_operator_labels,
    open_scanners,
    postmaster_address,
)
from ..assembly.storage import compare_clocks, open_store, row_seal, storage_folder
from ..assembly.trust import open_crl_refresher, open_list_refresher, open_trust, open_trust_state
from ..daemon.control_channel import Orders
from ..daemon.lasting_tasks import keep_running
from ..daemon.start_args import StartArgs
from ..daemon.starting import Start
from ..http import server as admin
from ..http.answers import HealthService
from ..jobs.account_forgetting import AccountForgetting
from ..jobs.audit_anchors import AnchorJob
from ..jobs.audit_retention import AuditRetentionJob
from ..jobs.blob_gc import BlobGcJob
from ..jobs.body_restoring import BodyRestoreJob
from ..jobs.failed_expiry import FailedExpiryJob
from ..jobs.mailboxes.assignment_expiry import AssignmentExpiry
from ..jobs.mailboxes.erasure import MailboxErasureJob
from ..jobs.mailboxes.holder_notices import HolderNotices
from ..jobs.mailboxes.inactivity import InactivityJob
from ..jobs.mailboxes.late_mail import LateMail
from ..jobs.mailboxes.notices import NoticeWriter
from ..jobs.mailboxes.quota_watch import QuotaWatch
from ..jobs.queue_measurement import QueueMeasurement
from ..jobs.rounds import JobRounds
from ..jobs.row_sealing import RowSealingJob
from ..jobs.scanner_watch import ScannerWatch
from ..jobs.self_check import SelfCheck
from ..jobs.store_watch import StoreWatch
from ..jobs.summaries import SummaryJob
from ..machine.clock_file import open_clock
from ..machine.clock_watching import compare_once, keep_comparing, watch_clock
from ..machine.run_directory import RunFolder
from ..monitoring.collector import Monitor
from ..monitoring.losses import LossPublisher
from ..services.local_submission import make_submitter
from ..settings.model import Settings
from ..settings.rights import ladder_policy

_log = structlog.get_logger(__name__)

FIRST_LOOK_SECONDS: Final = 60.0  # longest wait of the alarms for the first check of all sources
ALARM_SECONDS: Final = 10.0  # between two evaluations of the alarms without a scrape
PRUNING: Final = "trace-pruning"
PRUNE_SECONDS: Final = 86_400.0  # between two removals of old traces


@dataclass(frozen=True, slots=True)
class _MaintenanceParts:
    """Parts that the process needs to start."""

    store: Store
    trail: AuditTrail
    store_watch: StoreWatch
    trust_state: TrustState
    crls: CrlRefresher
    journal: Journal


def _open(settings: Settings) -> _MaintenanceParts:
    """Open all parts.  Raises SettingsError, Outage, OSError."""
    trust = open_trust(settings)
    crls = open_crl_refresher(settings, trust)
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_store(settings)))
        trail = open_trail(settings, store.database)
        trust_state = open_trust_state(settings, trust)
        store_watch = StoreWatch(store.database)
        store_watch.check()
        journal = open_journal(settings, "maintenance")
        opened.pop_all()
        return _MaintenanceParts(store, trail, store_watch, trust_state, crls, journal)


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
    store, trust_state = opened.store, opened.trust_state
    crls, journal = opened.crls, opened.journal
    refresher = open_list_refresher(settings, trust_state.trust)
    sharing = ListSharing(store.database, refresher)
    disk_guard = open_disk_guard(settings, store, bodies=True)
    (clock, clock_file), jumped = open_clock(settings), asyncio.Event()
    clocks = compare_clocks(settings, store.database)

    def in_doubt() -> bool:
        return clock.in_doubt or bool(clocks.apart)

    blob_gc = BlobGcJob(store, settings.storage.gc_hours * 3600, in_doubt)
    failed = timedelta(days=settings.outbound.failed_days)
    rounds = JobRounds()
    forgetting = FailedExpiryJob(store.database, journal, failed, in_doubt=in_doubt, rounds=rounds)
    keys = opened.trail.keys
    submitter = make_submitter(settings, store, journal, trust_state, opened.trail, Door.JOB)
    anchors = AnchorJob(
        store.database,
        keys,
        open_places(settings, utc_now, submitter),
        timedelta(minutes=settings.audit.anchor_minutes),
        utc_now,
    )
    kept = timedelta(days=settings.audit.keep_days)
    audit_retention = AuditRetentionJob(
        store.database, keys, kept, utc_now, in_doubt, rounds=rounds
    )
    closed = timedelta(days=settings.accounts.keep_closed_days)
    people = AccountForgetting(
        store.database, opened.trail, closed, utc_now, in_doubt, rounds=rounds
    )
    erasure = MailboxErasureJob(
        store.database, opened.trail, journal, in_doubt=in_doubt, rounds=rounds
    )
    assignments = AssignmentExpiry(store.database, opened.trail, utc_now, in_doubt, rounds=rounds)
    dsn_writer = make_dsn_writer(settings, store, journal)
    late_mail = LateMail(store, dsn_writer, opened.trail, journal, utc_now, in_doubt, rounds=rounds)
    writer = NoticeWriter(store, settings.operator.hostname, postmaster_address(settings), make_id)
    notices = HolderNotices(writer, opened.trail, utc_now, rounds=rounds)
    inactivity = InactivityJob(
        writer,
        opened.trail,
        ladder_policy(settings),
        settings.inactivity.types,
        utc_now,
        in_doubt,
        rounds=rounds,
    )
    summaries = SummaryJob(store, row_seal(store), utc_now, rounds=rounds)
    quotas = QuotaWatch(writer, journal, utc_now, rounds=rounds)
    labels = open_operator_labels(settings, trust_state)
    queue_measurement = QueueMeasurement(store.database, labels, utc_now)
    own_port = OwnPort.share(health.run_folder.own_port)
    self_check = SelfCheck(settings.inbound.listen, own_port)
    scanners = ScannerWatch(open_scanners(settings), rounds)
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
        anchors,
        audit_retention,
        quotas,
        rounds,
    )
    await compare_once(clocks)  # before any job deletes by this clock
    looked = asyncio.Event()
    section = settings.whitelist
    intervals = RefreshIntervals(section.refresh_seconds, section.check_seconds)
    tasks = [
        keep_running(lambda: trust_state.watch(section.check_seconds)),
        keep_running(lambda: watch_clock(clock, journal, lambda _: jumped.set(), clock_file.keep)),
        keep_running(
            lambda: keep_current(crls, refresher, sharing.check, intervals, jumped, looked)
        ),
        keep_running(lambda: _begin_alarms(monitor, looked)),
        *([keep_running(sharing.run)] if store.database.several else []),
        keep_running(lambda: keep_comparing(clocks)),
        keep_running(opened.store_watch.run),
        keep_running(scanners.run),
        keep_running(disk_guard.watch),
        keep_running(blob_gc.run),
        keep_running(forgetting.run),
        keep_running(anchors.run),
        keep_running(audit_retention.run),
        keep_running(people.run),
        keep_running(RowSealingJob(store.database, utc_now, rounds=rounds).run),
        keep_running(erasure.run),
        keep_running(assignments.run),
        keep_running(late_mail.run),
        keep_running(notices.run),
        *([keep_running(inactivity.run)] if settings.inactivity.act else []),
        keep_running(quotas.run),
        keep_running(queue_measurement.run),
        keep_running(BodyRestoreJob(store, journal, queue_measurement, rounds=rounds).run),
        keep_running(summaries.run),
        keep_running(LossPublisher(journal).run),
        keep_running(
            lambda: _prune_traces(
                storage_folder(settings) / journal_folder.NAME,
                settings.trace.keep_days,
                in_doubt,
                rounds,
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
    folder: Path,
    keep_days: int,
    in_doubt: Callable[[], bool] = lambda: False,
    rounds: JobRounds | None = None,
) -> None:
    rounds = JobRounds() if rounds is None else rounds
    rounds.begin(PRUNING)
    while True:
        with rounds.watch(PRUNING, "maintenance.error"):
            oldest = (utc_now() - timedelta(days=keep_days)).date()
            if in_doubt():  # remove nothing: a removal by a wrong clock cannot be undone
                oldest = date.min
            pruned = await asyncio.to_thread(journal_folder.prune, folder, oldest)
            if pruned.days:
                _log.info("trace.pruned", days=pruned.days, before=oldest.isoformat())
            for problem in pruned.problems:
                _log.error("trace.unpruned", why=problem)
        await asyncio.sleep(rounds.pause(PRUNING, PRUNE_SECONDS))
