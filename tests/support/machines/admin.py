"""The admin HTTP on a port of loopback, without a daemon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from mssante_operator.daemon.control_channel import Orders
from mssante_operator.http import server as admin
from mssante_operator.http.answers import HealthService
from relay.server.listen_socket import bind

HOST = "127.0.0.1"


@asynccontextmanager
async def serving(health: HealthService | None = None) -> AsyncIterator[int]:
    """The endpoints on a port; without a health service by default."""
    bound, orders = bind(HOST, 0), Orders()
    bound.listen(512)
    bound.setblocking(False)
    port = bound.getsockname()[1]
    task = asyncio.create_task(admin.serve(cast("HealthService", health), bound, orders))
    try:
        yield port
    finally:
        orders.end()
        async with asyncio.timeout(20):
            await task
