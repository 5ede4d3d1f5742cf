"""Gauges of the operator, measured when Prometheus scrapes.

Labels are few and bounded.  Certificates are read from their files at each scrape, so that a
renewal shows at once.  Ages are in seconds, dates in seconds since 1970.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client.core import GaugeMetricFamily, Metric

from foundation.clock_watch import ClockWatch
from mailstore.mailboxes.identifiers import MailboxType
from relay.acceptance.disk_guard import DiskGuard, DiskGuardState
from relay.machines.clock_difference import ClockComparison
from relay.machines.list_sharing import ListSharing
from relay.policy.admission import Peer
from relay.policy.trust_state import TrustState
from whitelist.errors import ArchiveError
from whitelist.national.freshness import Freshness
from whitelist.pki.certificates import read_pem
from whitelist.pki.crl import RevocationList
from whitelist.pki.trust_store import ChainStatus
from whitelist.refresh.crl_refresh import CrlRefresher
from whitelist.refresh.list_refresh import ListRefresher

from ..assembly.clock import utc_now
from ..assembly.trust import own_identity
from ..jobs.audit_anchors import AnchorJob
from ..jobs.audit_retention import AuditRetentionJob
from ..jobs.mailboxes.quota_watch import QuotaWatch
from ..jobs.queue_measurement import QueueMeasurement
from ..jobs.rounds import JobRounds
from ..jobs.scanner_watch import ScannerWatch
from ..jobs.self_check import SelfCheck
from ..jobs.store_watch import StoreWatch
from ..machine.node_name import copied
from ..settings.model import Settings
from .alarms import Alarm, AlarmFacts, AlarmName, alarms
from .losses import Losses
from .queue_gauges import queue_gauges

# States of our own certificate's chain in which no peer would speak to us.
_UNBELIEVED = frozenset({ChainStatus.UNTRUSTED, ChainStatus.REVOKED, ChainStatus.NOT_YET_VALID})
TOLD_AS_COPY: Final = timedelta(days=1)  # duration of the alarm that this machine is a copy

# If the last look at the list on disk is older, the list counts as unknown.
UNSEEN_SECONDS: Final = 30.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)  # a registry keeps collectors by identity
class Monitor:
    """Collector of the gauges, for a registry of prometheus_client."""

    settings: Settings
    trust_state: TrustState
    store_watch: StoreWatch
    refresher: ListRefresher
    crls: CrlRefresher
    disk_guard: DiskGuard
    queue_measurement: QueueMeasurement
    self_check: SelfCheck
    clock: ClockWatch
    scanners: ScannerWatch
    sharing: ListSharing
    clocks: ClockComparison
    waiting: Callable[[], Sequence[tuple[str, str]]]  # role and reason of processes that wait
    anchors: AnchorJob
    audit_retention: AuditRetentionJob
    quotas: QuotaWatch
    rounds: JobRounds
    losses: Losses = field(default_factory=Losses)
    _logged: frozenset[Alarm] = frozenset()

    def collect(self) -> Iterable[Metric]:
        """All gauges, measured now."""
        now = utc_now()
        yield from self._list_gauges(now)
        yield from self._queue_gauges(now)
        yield from self._trust_gauges()
        yield from self._disk_gauges()
        yield GaugeMetricFamily(
            "mssante_audit_anchor_unsent_seconds",
            "Age of the oldest anchor of the audit trail that a place lacks; 0: none",
            max(((now - at).total_seconds() for at, _ in self.anchors.unsent.values()), default=0),
        )
        if self.clocks.last is not None:
            yield GaugeMetricFamily(
                "mssante_clock_difference_seconds",
                "This machine's clock minus the database's, when they were last compared",
                self.clocks.last.by.total_seconds(),
            )
        standing = {alarm.name for alarm in self.alarms()}
        alarm = GaugeMetricFamily(
            "mssante_alarm",
            "Whether an alarm stands; docs/whitelist.md explains each",
            labels=["name"],
        )
        for name in AlarmName:
            alarm.add_metric([name.value], name in standing)
        yield alarm

    def alarms(self) -> list[Alarm]:
        """All active alarms.  New and ended alarms are logged."""
        own = self._own()
        facts = AlarmFacts(
            now=utc_now(),
            snapshot=self.trust_state.snapshot,
            refresh_problem=self.refresher.problem,
            own=own.certificate if own else None,
            own_chain_problem=own.chain.detail
            if own and own.chain and not own.chain.trusted
            else "",
            hosted=self.store_watch.hosted,
            trust=self.trust_state.trust,
            crl_problems=sorted({*self.crls.problems.values(), *self.crls.store.problems}),
            disk_guard=self.disk_guard.state,
            jumps=self.clock.jumps,
            clock_apart=self.clocks.problem,
            copied_from=self._copied_from(),
            disk_trouble=self.disk_guard.trouble,
            losses=self.losses.standing(),
            scanner_problems=self.scanners.problems,
            unreadable=self.queue_measurement.depth is not None
            and self.queue_measurement.depth.unreadable > 0,
            sharing_problem=self.sharing.problem,
            waiting=waiting_problems(self.waiting()),
            unanchored=self.anchors.problem,
            unsent=dict(self.anchors.unsent),
            unsent_after=timedelta(hours=self.settings.audit.unsent_hours),
            audit_damage=self.audit_retention.damage,
            limited=sorted(self.store_watch.limited),
            failing_jobs=dict(self.rounds.failing),
        )
        found = alarms(facts)
        for alarm in found:
            if alarm not in self._logged:
                _log.warning("alarm.raised", alarm=alarm.name.value, detail=alarm.detail)
        for alarm in self._logged - set(found):
            _log.info("alarm.ended", alarm=alarm.name.value, detail=alarm.detail)
        self._logged = frozenset(found)
        return found

    def problems(self) -> list[str]:
        """Reasons why the operator is not ready; empty if it is."""
        found = waiting_problems(self.waiting())
        if unlisted := self._unlisted():
            found.append(f"white list: {unlisted}")
        own = self._own()
        if own is None or own.certificate is None:
            found.append(f"certificate: {self.settings.tls.certificate} unreadable")
        elif own.certificate.not_after <= utc_now():
            ended = own.certificate.not_after.isoformat()
            found.append(f"certificate: {self.settings.tls.certificate} expired on {ended}")
        elif own.chain is not None and own.chain.status in _UNBELIEVED:
            found.append(f"certificate: {self.settings.tls.certificate}: {own.chain.detail}")
        if stalled := self._stalled(own):
            found.append(f"revocation lists: {stalled}")
        if why := self.store_watch.problem:
            found.append(f"store: {why}")
        if self.disk_guard.state is DiskGuardState.UNWELL:
            found.append(f"store: {self.disk_guard.trouble}")
        elif self.disk_guard.state is not DiskGuardState.WELL:
            found.append(f"disk: {self.disk_guard.state}, {self.disk_guard.free_bytes} octets free")
        if self.scanners.defers:
            found += [f"scan.{name}: {why}" for name, why in self.scanners.problems.items()]
        found += self.self_check.problems()
        return list(dict.fromkeys(found))  # two watches may report the same failure

    def warnings(self) -> list[str]:
        """Problems that a person should mend although all mail still flows."""
        found = [f"{kind}: {text}" for kind, text in self.losses.standing().items()]
        if self.clocks.problem:
            found.append(f"clock: {self.clocks.problem}")
        return found

    def _copied_from(self) -> str:
        was = copied(self.settings)
        recent = was is not None and utc_now() - was.at < TOLD_AS_COPY
        return was.before if was is not None and recent else ""

    def _unlisted(self) -> str:
        """Reason why no white list is in force; empty if one is."""
        unseen = self.trust_state.unseen_seconds
        if unseen > max(UNSEEN_SECONDS, 5 * self.settings.whitelist.check_seconds):
            return f"not checked for {unseen:.0f} s; see the log"
        snapshot = self.trust_state.snapshot
        return "" if snapshot.white_list is not None else self.refresher.problem or snapshot.problem

    def _stalled(self, own: Peer | None) -> str:
        """Reason why all mail is deferred for lack of revocation lists; empty if it is not."""
        ocsp = self.settings.trust.ocsp
        stalled = self.trust_state.trust.refusal_of_all(utc_now(), ocsp=ocsp)
        if not stalled and not ocsp and own is not None and own.chain is not None:
            # Peers' certificates are of the same authority, so they lack the same list.
            return own.chain.detail if own.chain.status is ChainStatus.NO_CRL else ""
        return stalled

    def _own(self) -> Peer | None:
        """Our own certificate as a peer would see it; None if its file cannot be read."""
        try:
            pem = own_identity(self.settings).certificate.read_bytes()
            der = read_pem(pem)[0].public_bytes(Encoding.DER)
        except (OSError, ValueError):
            return None
        return self.trust_state.identify(der, "", "")

    def _trust_gauges(self) -> Iterable[Metric]:
        expiry = GaugeMetricFamily(
            "mssante_certificate_expiry_timestamp_seconds",
            "End of validity of a certificate",
            labels=["certificate"],
        )
        own = self._own()
        if own is not None and own.certificate is not None:
            expiry.add_metric(["server"], own.certificate.not_after.timestamp())
        loaded = self.trust_state.snapshot.loaded
        if loaded is not None:
            expiry.add_metric(["list_signer"], loaded.signer.not_after.timestamp())
        yield expiry
        crls = GaugeMetricFamily(
            "mssante_crl_next_update_timestamp_seconds",
            "Until when the revocation lists of an authority serve",
            labels=["authority"],
        )
        for authority, until in _serve_until(self.trust_state.trust.crls, utc_now()).items():
            crls.add_metric([authority], until.timestamp())
        yield crls

    def _disk_gauges(self) -> Iterable[Metric]:
        for name, meaning, value in (
            (
                "mssante_spool_free_bytes",
                "Free octets where messages go",
                self.disk_guard.free_bytes,
            ),
            (
                "mssante_spool_free_inodes",
                "Free inodes, where counted",
                self.disk_guard.free_inodes,
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, meaning, value)

    def _list_gauges(self, now: datetime) -> Iterable[Metric]:
        snapshot = self.trust_state.snapshot
        yield GaugeMetricFamily(
            "mssante_whitelist_valid",
            "Whether a usable white list is in force",
            snapshot.white_list is not None,
        )
        yield GaugeMetricFamily(
            "mssante_whitelist_behind",
            "Whether another machine of the store has a newer list than the one in force here",
            snapshot.behind,
        )
        state = GaugeMetricFamily(
            "mssante_whitelist_state", "Age of the list in force: one state is 1", labels=["state"]
        )
        for freshness in Freshness:
            state.add_metric([freshness.value], freshness is snapshot.freshness)
        yield state
        if snapshot.last_check is not None:
            yield GaugeMetricFamily(
                "mssante_whitelist_last_check_timestamp_seconds",
                "When the list in force was last checked with success",
                snapshot.last_check.timestamp(),
            )
        loaded = snapshot.loaded
        if loaded is None:
            return
        yield GaugeMetricFamily(
            "mssante_whitelist_entries", "Entries of the list in force", loaded.entries
        )
        yield GaugeMetricFamily(
            "mssante_whitelist_domains", "Domains of the list in force", loaded.domains
        )
        yield GaugeMetricFamily(
            "mssante_whitelist_age_seconds",
            "Time since the list in force was generated",
            max((now - loaded.generated_at).total_seconds(), 0.0),
        )
        yield from self._list_changes()

    def _list_changes(self) -> Iterable[Metric]:
        """Number of domains that the last adoption changed, if it is recorded."""
        try:
            active = self.refresher.archive.active()
        except ArchiveError:
            return
        if active is None or active.recertified is None:
            return
        changes = GaugeMetricFamily(
            "mssante_whitelist_changed_domains",
            "Domains that the last adoption added, removed or certified anew",
            labels=["change"],
        )
        for change in ("added", "removed", "recertified"):
            changes.add_metric([change], getattr(active, change))
        yield changes

    def _queue_gauges(self, now: datetime) -> Iterable[Metric]:
        reachable = not self.store_watch.problem
        yield GaugeMetricFamily(
            "mssante_store_available", "Whether the database answers", reachable
        )
        limited = GaugeMetricFamily(
            "mssante_sending_limited",
            "Mailboxes that the limit of sending stopped within this hour or the last, by type",
            labels=["type"],
        )
        for kind in MailboxType:
            limited.add_metric([kind.value], self.store_watch.limited.get(kind, 0))
        yield limited
        reached = GaugeMetricFamily(
            "mssante_quota_reached",
            "Mailboxes or domains that hold this share of their quota in percent, or more",
            labels=["of", "level"],
        )
        for (of, level), number in sorted(self.quotas.reached.items()):
            reached.add_metric([of, str(level)], number)
        yield reached
        if self.queue_measurement.depth is not None and reachable:
            yield from queue_gauges(self.queue_measurement.depth, now)


def waiting_problems(waiting: Iterable[tuple[str, str]]) -> list[str]:
    """A line `role: reason` for each pair."""
    return [f"{role}: {why}" for role, why in waiting]


def _serve_until(crls: Iterable[RevocationList], now: datetime) -> dict[str, datetime]:
    """Authority's CN to `nextUpdate`: the first one in the future, else the last one."""
    ends: dict[str, list[datetime]] = {}
    for crl in crls:
        ends.setdefault(crl.issuer.common_name or "unnamed", []).append(crl.next_update)
    return {
        authority: min((end for end in found if end > now), default=max(found))
        for authority, found in ends.items()
    }
