"""Admin HTTP: /healthz (the daemon lives), /readyz (it can work, or why not), /metrics."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..daemon.control_channel import Orders
from .answers import ANSWER_SECONDS, HealthService, SharedCall
from .request_limits import MAX_REQUEST, GuardedHttp

SETTLE_SECONDS: Final = 2.0  # a replaced process answers its open connections for so long


def application(health: HealthService) -> Starlette:
    """The endpoints.  Counters of all processes are summed from PROMETHEUS_MULTIPROC_DIR.

    Each endpoint answers within seconds, even if a check hangs.
    """

    def collect() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client
        registry.register(health)
        return generate_latest(registry)

    collected = SharedCall(collect)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        answer = await health.readiness()
        return JSONResponse(answer, 200 if answer["ready"] else 503)

    async def metrics(_request: Request) -> Response:
        try:
            return Response(await collected.get(), media_type=CONTENT_TYPE_LATEST)
        except TimeoutError:
            return PlainTextResponse(f"not collected within {ANSWER_SECONDS:g} s\n", 503)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(health: HealthService, listening: socket.socket, orders: Orders) -> None:
    """Answer on a listening socket until told to stop; then finish accepted connections."""
    config = uvicorn.Config(
        application(health),
        http=GuardedHttp,
        h11_max_incomplete_event_size=MAX_REQUEST,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="none",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    await orders.stop.wait()
    for one in getattr(server, "servers", ()):  # absent before start-up is complete
        one.close()
    # uvicorn would close connections whose request has not arrived yet.
    with suppress(TimeoutError):
        await asyncio.wait_for(orders.hurry.wait(), SETTLE_SECONDS)
    server.should_exit = True
    await serving
