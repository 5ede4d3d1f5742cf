"""Gauges of the operator: what is measured rather than counted, taken when Prometheus asks.

Labels are few and bounded.  Certificates are read from their files, so that a renewed one shows at
once; ages are seconds, dates are seconds since 1970.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from mailstore.database import Database
from mailstore.errors import StoreUnavailable
from relay.perimeter import Perimeter
from relay.queue import Depth, depth
from whitelist.certificates import read_pem

from . import runtime
from .settings import Settings

QUEUE_AGE: Final = 5.0  # seconds for which one look at the queue serves


@dataclass(slots=True, eq=False)  # a registry keeps collectors by identity
class Monitor:
    """Collects the gauges; a collector in the sense of prometheus_client."""

    settings: Settings
    perimeter: Perimeter
    database: Database
    _queue: Depth | None = None
    _looked: float = 0.0

    def collect(self) -> Iterable[Metric]:
        """Every gauge now."""
        now = runtime.clock()
        yield from self._list_gauges(now)
        yield from self._queue_gauges(now)
        expiry = GaugeMetricFamily(
            "mssante_certificate_expiry_timestamp_seconds",
            "End of validity of a certificate",
            labels=["certificate"],
        )
        own = self.own_expiry()
        if own is not None:
            expiry.add_metric(["server"], own.timestamp())
        white_list = self.perimeter.snapshot.white_list
        if white_list is not None:
            expiry.add_metric(["list_signer"], white_list.signer.not_after.timestamp())
        yield expiry

    def own_expiry(self) -> datetime | None:
        """End of validity of our certificate, None if its file cannot be read."""
        try:
            pem = runtime.identity(self.settings).certificate.read_bytes()
            return read_pem(pem)[0].not_valid_after_utc
        except (OSError, ValueError):
            return None

    def problems(self) -> list[str]:
        """Why the operator is not ready, empty if it is."""
        found = []
        if self.perimeter.snapshot.white_list is None:
            found.append(f"white list: {self.perimeter.snapshot.problem}")
        expiry = self.own_expiry()
        if expiry is None:
            found.append(f"certificate: {self.settings.tls.certificate} cannot be read")
        elif expiry <= runtime.clock():
            found.append(f"certificate: {self.settings.tls.certificate} expired on {expiry}")
        try:
            self._look_at_queue()
        except StoreUnavailable as error:
            found.append(f"store: {error}")
        return found

    def _list_gauges(self, now: datetime) -> Iterable[Metric]:
        snapshot = self.perimeter.snapshot
        white_list = snapshot.white_list
        yield GaugeMetricFamily(
            "mssante_whitelist_valid", "Whether a usable white list is in force", bool(white_list)
        )
        yield GaugeMetricFamily(
            "mssante_whitelist_newer_rejected",
            "Whether the list file holds something that was turned down",
            bool(snapshot.rejected),
        )
        if white_list is None:
            return
        yield GaugeMetricFamily(
            "mssante_whitelist_entries", "Entries of the list in force", white_list.entries
        )
        yield GaugeMetricFamily(
            "mssante_whitelist_domains", "Domains of the list in force", white_list.domains
        )
        yield GaugeMetricFamily(
            "mssante_whitelist_age_seconds",
            "Time since the list in force was generated",
            (now - white_list.generated_at).total_seconds(),
        )

    def _queue_gauges(self, now: datetime) -> Iterable[Metric]:
        reachable = True
        try:
            self._look_at_queue()
        except StoreUnavailable:
            reachable = False
        yield GaugeMetricFamily(
            "mssante_store_available", "Whether the database answers", reachable
        )
        if self._queue is None or not reachable:
            return
        size = GaugeMetricFamily(
            "mssante_queue_deliveries", "Outbound deliveries in the queue", labels=["state"]
        )
        size.add_metric(["waiting"], self._queue.waiting)
        size.add_metric(["failed"], self._queue.failed)
        yield size
        oldest = self._queue.oldest
        yield GaugeMetricFamily(
            "mssante_queue_oldest_age_seconds",
            "Age of the oldest delivery that waits; 0 with none",
            (now - oldest).total_seconds() if oldest else 0.0,
        )

    def _look_at_queue(self) -> None:
        if self._queue is not None and time.monotonic() - self._looked < QUEUE_AGE:
            return
        with self.database.read() as connection:
            self._queue = depth(connection)
        self._looked = time.monotonic()
