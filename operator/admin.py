"""Admin HTTP: /healthz (the daemon lives), /readyz (it can do its work, else why not), /metrics."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .monitor import Monitor


def application(monitor: Monitor) -> Starlette:
    """The endpoints; counters of all processes are summed from PROMETHEUS_MULTIPROC_DIR."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        problems = await run_in_threadpool(monitor.problems)
        answer = {
            "ready": not problems,
            "problems": problems,
            "white_list": monitor.perimeter.snapshot.freshness.value,
        }
        return JSONResponse(answer, 503 if problems else 200)

    async def metrics(_request: Request) -> Response:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client
        registry.register(monitor)
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


async def serve(monitor: Monitor, bound: socket.socket, stop: asyncio.Event) -> None:
    """Answer on a bound socket until `stop`."""
    config = uvicorn.Config(
        application(monitor), log_config=None, access_log=False, lifespan="off", loop="none"
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([bound]))
    await stop.wait()
    server.should_exit = True
    await serving
