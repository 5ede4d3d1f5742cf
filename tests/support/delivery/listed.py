"""Queue as shown by `mssante queue list`."""

from sqlalchemy import Connection

from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.views import DeliverySummary
from relay.queue_admin.views import listing as view
from tests.support.clock import system_clock

__all__ = ["DeliverySummary", "listing"]


def listing(connection: Connection, limit: int = 100) -> list[DeliverySummary]:
    """Oldest deliveries of the queue."""
    return view(connection, DeliveryFilter(), system_clock(), limit)
