"""Queue as shown by `mssante queue list`."""

from sqlalchemy import Connection

from relay.queue_admin.filter import Filter
from relay.queue_admin.views import Listed
from relay.queue_admin.views import listing as view
from tests.support.clock import system_clock

__all__ = ["Listed", "listing"]


def listing(connection: Connection, limit: int = 100) -> list[Listed]:
    """Oldest deliveries of the queue."""
    return view(connection, Filter(), system_clock(), limit)
