"""The queue as `mssante queue list` shows it."""

from sqlalchemy import Connection

from mssante_operator import runtime
from relay.queue_filter import Filter
from relay.queue_view import Listed
from relay.queue_view import listing as view

__all__ = ["Listed", "listing"]


def listing(connection: Connection, limit: int = 100) -> list[Listed]:
    """The oldest deliveries of all."""
    return view(connection, Filter(), runtime.clock(), limit)
