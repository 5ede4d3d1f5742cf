"""The processes of the daemon: `python -m mssante_operator.process launcher`, by the supervisor.

What is executed is the launcher (docs/decisions/0018); all others are forked from it.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from . import forking, lifeline, log_writer, logs
from .courier import run_courier
from .forking import Part
from .launch import Launch, unpack
from .lifeline import Orders
from .maintenance import run_maintenance
from .settings import Settings, SettingsError
from .title import retitle
from .worker import run_worker

Ready = Callable[[], None]
Role = Callable[[Settings, Launch, Orders, Ready], Awaitable[None]]

LAUNCHER: Final = "launcher"
ROLES: Final[dict[str, Role]] = {
    "worker": run_worker,
    "courier": run_courier,
    "maintenance": run_maintenance,
}
# Whoever ends the daemon may tell the whole group.  The launcher ends when its line does.
_THE_SUPERVISORS: Final = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Launch until the supervisor closes the line; in a process launched, run its role."""
    # A terminal's end reaches the whole group; it is the supervisor that reloads.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in _THE_SUPERVISORS:
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="mssante_operator.process")
    parser.add_argument("role", choices=[LAUNCHER])
    parser.add_argument("--line", type=int, required=True)
    given = parser.parse_args()
    retitle(LAUNCHER, LAUNCHER)
    part = forking.serve(socket.socket(fileno=given.line))
    if part is not None:
        _play(part)


def _play(part: Part) -> None:
    """Run a role until the supervisor closes the lifeline or sends SIGTERM."""
    for number in _THE_SUPERVISORS:
        signal.signal(number, signal.SIG_DFL)
    retitle(LAUNCHER, part.role)
    log_writer.take_over()
    try:
        settings, launch = unpack(lifeline.hear(part.line), part.sockets)
        logs.configure(
            settings.log.level, settings.log.format, process=f"{part.role}:{os.getpid()}"
        )
        uvloop.run(_run(ROLES[part.role], settings, launch, part.line))
    except (SettingsError, OSError) as error:
        lifeline.report(part.line, str(error))
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
