"""A process of the daemon: `python -m mssante_operator.process ROLE`, started by the supervisor."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Final, cast

import structlog
import uvloop

from . import lifeline, logs
from .launch import Launch
from .settings import Settings, SettingsError, load

_log = structlog.get_logger(__name__)

Ready = Callable[[], None]
Role = Callable[[Settings, Launch, asyncio.Event, Ready], Awaitable[None]]

# Imported by the process that plays it, so that each starts with no more than it needs.
ROLES: Final = {
    "worker": (".worker", "run_worker"),
    "courier": (".courier", "run_courier"),
    "maintenance": (".maintenance", "run_maintenance"),
}


def _role(name: str) -> Role:
    module, function = ROLES[name]
    return cast("Role", getattr(import_module(module, __package__), function))


def main() -> None:
    """Run one role until the supervisor closes the lifeline or sends SIGTERM."""
    parser = argparse.ArgumentParser(prog="mssante_operator.process")
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    Launch.declare(parser)
    given = parser.parse_args()
    line = socket.socket(fileno=given.lifeline)
    try:
        settings = load(given.config)
        logs.configure(settings.log.level, settings.log.format, lasting=True)
        structlog.contextvars.bind_contextvars(process=f"{given.role}:{os.getpid()}")
        uvloop.run(_run(_role(given.role), settings, Launch.read(given), line))
    except (SettingsError, OSError) as error:
        lifeline.report(line, str(error))
        sys.exit(1)


async def _run(role: Role, settings: Settings, launch: Launch, line: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C reaches the whole group; the supervisor decides what it means.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    line.settimeout(0)

    async def end_with_supervisor() -> None:
        await lifeline.wait_for_end(line)
        stop.set()

    watcher = loop.create_task(end_with_supervisor())
    try:
        await role(settings, launch, stop, lambda: lifeline.report(line))
    finally:
        watcher.cancel()


if __name__ == "__main__":
    main()
