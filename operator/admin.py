"""Admin HTTP: /healthz (the daemon lives), /readyz (it can do its work, else why not), /metrics."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .admin_guard import MAX_REQUEST, GuardedHttp
from .lifeline import Orders
from .monitor import Monitor

SETTLE_SECONDS: Final = 2.0  # for which one that has been replaced answers its connections


def application(monitor: Monitor) -> Starlette:
    """The endpoints; counters of all processes are summed from PROMETHEUS_MULTIPROC_DIR."""
    few = asyncio.Semaphore(2)  # answers made at a time: each takes a thread and the interpreter

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        async with few:
            problems = await run_in_threadpool(monitor.problems)
            warnings = await run_in_threadpool(monitor.warnings)
        answer = {
            "ready": not problems,
            "problems": problems,
            "warnings": warnings,
            "white_list": monitor.perimeter.snapshot.freshness.value,
        }
        return JSONResponse(answer, 503 if problems else 200)

    async def metrics(_request: Request) -> Response:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client
        registry.register(monitor)
        async with few:
            body = await run_in_threadpool(generate_latest, registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that hosts it has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(monitor: Monitor, listening: socket.socket, orders: Orders) -> None:
    """Answer on a listening socket until told to stop, and what was taken by then."""
    config = uvicorn.Config(
        application(monitor),
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
    for one in getattr(server, "servers", ()):  # none where it has not come so far
        one.close()
    # uvicorn would close connections whose request is still on its way.
    with suppress(TimeoutError):
        await asyncio.wait_for(orders.hurry.wait(), SETTLE_SECONDS)
    server.should_exit = True
    await serving
