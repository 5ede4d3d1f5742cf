"""The supervisor: checks everything once, starts the processes of the daemon and keeps them up.

What cannot work is said in one line before anything starts.  A process that dies is replaced; one
that cannot start again stops the daemon with the reason, since a service manager can tell and a
silent loop cannot.  The supervisor itself touches no mail.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from prometheus_client.multiprocess import mark_process_dead

from relay import tls
from relay.listener import bind
from whitelist.names import DistinguishedName

from . import lifeline, runtime
from .launch import Launch
from .sections import split_endpoint
from .settings import Settings, SettingsError

_log = structlog.get_logger(__name__)

METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"  # where processes keep what the endpoint sums

RESTART_PAUSE: Final = 1.0  # seconds before a dead process is replaced


class DaemonError(Exception):
    """The daemon cannot start or go on; the message says why and what to do."""


@dataclass(slots=True)
class _Child:
    role: str
    arguments: list[str]
    process: asyncio.subprocess.Process | None = None
    line: socket.socket | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs the daemon of one configuration; `announce` is told the addresses once all is ready."""

    settings: Settings
    announce: Callable[[Sequence[str]], None]
    debug_peers: frozenset[DistinguishedName] = frozenset()
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _children: list[_Child] = field(default_factory=list)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.  Raises SettingsError or DaemonError."""
        self._check()
        with ExitStack() as stack:
            run_folder = runtime.storage_folder(self.settings) / "run"
            stack.enter_context(_lock(run_folder))
            environment = {
                **_metrics_environment(run_folder),
                **_openssl_environment(run_folder, self.settings),
            }
            reserved = [
                stack.enter_context(_reserve(self.settings, endpoint))
                for endpoint in self.settings.inbound.listen
            ]
            addresses = [_endpoint(bound) for bound in reserved]
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            self._children = self._plan(addresses)
            try:
                await self._supervise(environment, addresses)
            finally:
                await self._end_all()

    def _check(self) -> None:
        trust = runtime.open_trust(self.settings)
        runtime.open_tls(self.settings, tls.server_context, trust)
        runtime.open_store(self.settings).close()
        runtime.make_router(self.settings)
        runtime.postmaster(self.settings)

    def _plan(self, addresses: Sequence[str]) -> list[_Child]:
        words = Launch(tuple(addresses), self.debug_peers).words()
        workers = self.settings.process.workers or os.cpu_count() or 1
        return [
            _Child("maintenance", []),
            _Child("courier", []),
            *(_Child("worker", words) for _ in range(workers)),
        ]

    async def _supervise(self, environment: dict[str, str], addresses: Sequence[str]) -> None:
        await asyncio.gather(*(self._start(child, environment) for child in self._children))
        self.announce(addresses)
        _log.info("daemon.ready", listen=addresses, processes=len(self._children))
        keepers = [asyncio.create_task(self._keep(child, environment)) for child in self._children]
        stopped = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({stopped, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            for task in (stopped, *keepers):
                task.cancel()
            await asyncio.gather(stopped, *keepers, return_exceptions=True)

    async def _start(self, child: _Child, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        with theirs:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "mssante_operator.process",
                child.role,
                "--config",
                str(self.settings.origin),
                "--lifeline",
                str(theirs.fileno()),
                *child.arguments,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
            )
        child.line = ours
        report = await lifeline.receive(ours)
        if report.problem:
            raise DaemonError(f"{child.role} process cannot start: {report.problem}")

    async def _keep(self, child: _Child, environment: dict[str, str]) -> None:
        while True:
            assert child.process is not None  # noqa: S101 - started before it is kept
            code = await child.process.wait()
            _log.error("process.died", role=child.role, pid=child.process.pid, code=code)
            _close(child)
            # What it measured of itself, such as its open sessions, is no more.
            mark_process_dead(  # type: ignore[no-untyped-call]  # prometheus_client
                child.process.pid, environment[METRICS]
            )
            await asyncio.sleep(RESTART_PAUSE)
            await self._start(child, environment)

    async def _end_all(self) -> None:
        running = [c.process for c in self._children if c.process and c.process.returncode is None]
        for child in self._children:
            _close(child)  # the children stop when their line ends
        ends = [asyncio.create_task(process.wait()) for process in running]
        if ends:
            # Children keep their own deadline; this one is for a child that is stuck.
            _, late = await asyncio.wait(ends, timeout=self.settings.process.stop_seconds + 5)
            if late:
                for process in running:
                    if process.returncode is None:
                        process.kill()
                await asyncio.wait(ends)
        _log.info("daemon.stopped")


def _close(child: _Child) -> None:
    if child.line is not None:
        child.line.close()
        child.line = None


def _lock(folder: Path) -> ExitStack:
    """Hold the run folder for this daemon alone.  Raises DaemonError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    stack = ExitStack()
    handle = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stack.close()
        raise DaemonError(
            f"{folder}: another mssante serve runs on this storage; stop it first"
        ) from None
    return stack


def _metrics_environment(folder: Path) -> dict[str, str]:
    metrics = folder / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700)
    return {METRICS: str(metrics)}


def _openssl_environment(folder: Path, settings: Settings) -> dict[str, str]:
    path = folder / "openssl.cnf"
    path.write_text(tls.openssl_configuration(settings.tls.groups), encoding="ascii")
    return {"OPENSSL_CONF": str(path.absolute())}


def _reserve(settings: Settings, endpoint: str) -> socket.socket:
    """Hold a listening address for the workers, alone.  Raises SettingsError if it is in use.

    A first bind without SO_REUSEPORT fails where anybody else is; the second, shared and never
    listening, keeps the port ours (and fixes the number where the configuration says 0).
    """
    host, port = split_endpoint(endpoint)
    try:
        bind(host, port, share=False).close()
        return bind(host, port, share=True)
    except OSError as error:
        raise SettingsError(
            f"{settings.origin}: inbound.listen: cannot listen on {endpoint}: {error.strerror}; "
            "stop what uses it or choose another"
        ) from error


def _endpoint(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
