"""A process of the daemon: `python -m mssante_operator.process ROLE`, started by the supervisor."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Final, cast

import structlog
import uvloop

from . import lifeline, logs
from .launch import Launch, unpack
from .lifeline import Orders
from .settings import Settings, SettingsError

Ready = Callable[[], None]
Role = Callable[[Settings, Launch, Orders, Ready], Awaitable[None]]

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
    # A terminal's end reaches the whole group; it is the supervisor that reloads.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="mssante_operator.process")
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--lifeline", type=int, required=True)
    Launch.declare(parser)
    given = parser.parse_args()
    line = socket.socket(fileno=given.lifeline)
    try:
        settings = unpack(lifeline.hear(line))
        logs.configure(settings.log.level, settings.log.format, lasting=True)
        structlog.contextvars.bind_contextvars(process=f"{given.role}:{os.getpid()}")
        uvloop.run(_run(_role(given.role), settings, Launch.read(given), line))
    except (SettingsError, OSError) as error:
        lifeline.report(line, str(error))
        sys.exit(1)


async def _run(role: Role, settings: Settings, launch: Launch, line: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    orders = Orders()
    loop.add_signal_handler(signal.SIGTERM, orders.end)
    # Ctrl-C reaches the whole group; the supervisor decides what it means.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    line.settimeout(0)
    follower = loop.create_task(lifeline.follow(line, orders))
    try:
        await role(settings, launch, orders, lambda: lifeline.report(line))
    finally:
        follower.cancel()


if __name__ == "__main__":
    main()
