"""Entry point of the daemon's processes: `python -m mssante_operator.roles launcher`.

The supervisor executes the launcher (docs/decisions/0018); all other processes are forked from it.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import uvloop

from .. import log_writer, logs
from ..daemon import control_channel, fork_server, stack_dump
from ..daemon.control_channel import Orders, ProcessReport
from ..daemon.forced_exit import LATE_SECONDS, THREADS_SECONDS, end_within
from ..daemon.fork_server import ForkedRole
from ..daemon.process_title import set_process_title
from ..daemon.start_args import StartArgs, unpack
from ..daemon.starting import Start, report_of
from ..settings.model import Settings, SettingsError
from .courier import run_courier
from .maintenance import run_maintenance
from .worker import run_worker

_log = structlog.get_logger(__name__)

Role = Callable[[Settings, StartArgs, Orders, Start], Awaitable[None]]

LAUNCHER: Final = "launcher"
ROLES: Final[dict[str, Role]] = {
    "worker": run_worker,
    "courier": run_courier,
    "maintenance": run_maintenance,
}
# Signals may be sent to the whole process group; the launcher ignores them and ends at EOF.
_THE_SUPERVISORS: Final = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Run the launcher until EOF; in a forked process run its role."""
    # A hang-up of the terminal reaches the whole group; only the supervisor reloads.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in _THE_SUPERVISORS:
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="mssante_operator.roles")
    parser.add_argument("role", choices=[LAUNCHER])
    parser.add_argument("--line", type=int, required=True)
    parser.add_argument("--stack", type=int, required=True)
    given = parser.parse_args()
    stack_dump.register(given.stack)
    set_process_title(LAUNCHER, LAUNCHER)
    part = fork_server.serve(socket.socket(fileno=given.line))
    if part is not None:
        stack_dump.register(part.stack)
        os.close(given.stack)
        _play(part)


def _play(part: ForkedRole) -> None:
    """Run a role until EOF on its control channel, or SIGTERM."""
    for number in _THE_SUPERVISORS:
        signal.signal(number, signal.SIG_DFL)
    set_process_title(LAUNCHER, part.role)
    log_writer.take_over()
    try:
        settings, launch = unpack(control_channel.receive_args(part.line), part.sockets)
        logs.configure(
            settings.log.level, settings.log.format, process=f"{part.role}:{os.getpid()}"
        )
        uvloop.run(_run(ROLES[part.role], settings, launch, part.line))
    except (SettingsError, OSError) as error:
        control_channel.send_report(part.line, report_of(error))
        sys.exit(1)


async def _run(role: Role, settings: Settings, launch: StartArgs, line: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    orders = Orders()
    loop.add_signal_handler(signal.SIGTERM, orders.end)
    # Ctrl-C reaches the whole group; the supervisor handles it.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    line.settimeout(0)
    follower = loop.create_task(control_channel.watch(line, orders))
    deadline = loop.create_task(_deadline(settings, orders))

    def say(report: ProcessReport) -> None:
        control_channel.send_report(line, report)

    code = 1
    try:
        await role(settings, launch, orders, Start(say, orders.stop))
        code = 0
    except (SettingsError, OSError):
        raise
    except Exception:
        # Logged here: the interpreter would print it only after waiting for threads that may hang.
        _log.exception("process.error")
        sys.exit(1)
    finally:
        follower.cancel()
        deadline.cancel()
        end_within(THREADS_SECONDS, code)


async def _deadline(settings: Settings, orders: Orders) -> None:
    """After an order to stop, force the exit at the deadline even if something hangs."""
    await orders.stop.wait()
    end_within(settings.process.stop_seconds + LATE_SECONDS, 1)
