"""Gauges of the outbound queue, from its last measurement."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from relay.queue.model import Traffic
from relay.queue_admin.depth import QueueDepth


def queue_gauges(depth: QueueDepth, now: datetime) -> Iterable[Metric]:
    """All gauges of the queue.  `now`: current time, for ages."""
    size = GaugeMetricFamily(
        "mssante_queue_deliveries", "Outbound deliveries in the queue", labels=["state"]
    )
    for standing, number in depth.deliveries.items():
        size.add_metric([standing.value], number)
    yield size
    yield GaugeMetricFamily(
        "mssante_queue_bodies_unreadable",
        "Deliveries held since their bodies are missing, damaged, or of a key that is not here",
        depth.unreadable,
    )
    yield _by_operator("mssante_queue_waiting", "Deliveries that wait, by operator", depth.waiting)
    age = GaugeMetricFamily(
        "mssante_queue_oldest_age_seconds",
        "Age of the oldest delivery that waits, by class of traffic; 0 with none",
        labels=["traffic"],
    )
    for traffic in Traffic:
        oldest = depth.oldest.get(traffic)
        since = (now - oldest).total_seconds() if oldest else 0.0
        age.add_metric([traffic.value], max(since, 0.0))  # the clock was ahead at its arrival
    yield age
    yield GaugeMetricFamily(
        "mssante_queue_measured_timestamp_seconds",
        "When the queue was last counted to its end, for these gauges",
        depth.at.timestamp(),
    )
    yield GaugeMetricFamily(
        "mssante_queue_paused", "Whether all sending is paused", depth.all_paused
    )
    yield _by_operator(
        "mssante_destinations_dead",
        "Destinations none of whose hosts can be spoken to, which are only probed",
        depth.dead,
    )
    yield _by_operator(
        "mssante_destinations_paused", "Destinations paused one by one", depth.paused
    )


def _by_operator(name: str, meaning: str, numbers: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=["operator"])
    for operator, number in sorted(numbers.items()):
        family.add_metric([operator], number)
    return family
