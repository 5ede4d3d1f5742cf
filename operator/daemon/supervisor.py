"""Supervisor: checks the configuration, starts the processes of the daemon, restarts dead ones.

An error of this installation (configuration, key, port) ends the start with one line.  Nothing
else ends the daemon: a dead process is always replaced, and a process that needs an unreachable
service waits for it (docs/decisions/0056).  SIGHUP reloads the configuration and replaces the
processes one by one; each new process works before the old process leaves.  If the reload fails,
the old configuration stays in force.  The supervisor itself handles no mail.
"""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any, Final

import structlog

from foundation.backoff import backoff
from foundation.detached_threads import run_detached, wait_within
from relay.policy import tls
from whitelist.pki.distinguished_name import DistinguishedName

from .. import logs
from ..assembly.listen_sockets import ADMIN, INBOUND, address, open_sockets
from ..assembly.relay import make_router, postmaster_address
from ..assembly.storage import storage_folder
from ..assembly.trust import open_crls, open_tls, open_trust
from ..checks.store import check_store
from ..errors import OperatorError, Outage
from ..machine.node_name import known_node_name
from ..machine.run_directory import RunFolder
from ..settings.consistency import check_outbound
from ..settings.consistency import doubts as outbound_doubts
from ..settings.model import Settings, SettingsError, load
from ..settings.storage import StorageSection
from .child import CannotStart, Child, ProcessPlan
from .fork_client import ForkClient
from .start_args import StartArgs
from .starting import FIRST_SECONDS, LONGEST_SECONDS
from .subreaper import adopt_orphans

_log = structlog.get_logger(__name__)

SUPERVISOR: Final = "supervisor"  # its role in events about waiting
ROLES: Final = ("worker", "courier", "maintenance")  # in the order of their replacement
START_ANSWER_SECONDS: Final = 5.0  # for the store check at start; then start anyway
RELOAD_ANSWER_SECONDS: Final = 20.0  # for the store check at a reload; then refuse it
_AS_BEFORE: Final = "old configuration still in force; reload again once the service is back"

# All other keys of [storage] say where mail is stored: a change would split the mail in two places.
STORAGE_THAT_MAY_CHANGE: Final = {
    "compression",
    "encryption",
    "gc_hours",
    "max_clock_difference_seconds",
    "min_free_bytes",
    "min_free_inodes",
    "small_body_bytes",
}


class DaemonError(OperatorError):
    """The daemon cannot start or continue; the message says why and what to do."""


@dataclass(slots=True)
class Supervisor:
    """Supervisor of one daemon.  `announce`: called with the inbound addresses once it runs."""

    settings: Settings
    announce: Callable[[Sequence[str]], None]
    debug_peers: frozenset[DistinguishedName] = frozenset()
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _reload: asyncio.Event = field(default_factory=asyncio.Event)
    _sockets: dict[tuple[str, str], socket.socket] = field(default_factory=dict)
    _children: list[Child] = field(default_factory=list)  # including processes that drain
    _leaving: dict[asyncio.Task[None], Child] = field(default_factory=dict)
    _launchers: list[ForkClient] = field(default_factory=list)  # one for each generation
    _waiting: Mapping[tuple[str, str], bool] = field(default_factory=dict)  # (role, why): own
    _silent: Counter[str] = field(default_factory=Counter)  # processes killed as silent, by role
    _generation: int = 0

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.  Raises SettingsError or DaemonError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        _check(self.settings)
        if not await self._unless_stopped(self._first_look()):
            return
        with ExitStack() as stack:
            if not await self._unless_stopped(self._insist(partial(self._take_folder, stack))):
                return
            try:
                adopt_orphans()
            except OSError as error:
                raise DaemonError(str(error)) from error
            stack.callback(self._close_sockets)
            self._sockets = open_sockets(self.settings, {})
            try:
                if await self._unless_stopped(self._insist(self._plan)) and (
                    await self._unless_stopped(self._start_all())
                ):
                    await self._supervise()
            except CannotStart as error:
                raise DaemonError(str(error)) from error
            finally:
                await self._end_all()

    @property
    def _run_folder(self) -> RunFolder:
        return RunFolder(storage_folder(self.settings) / "run")

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run `work`; cancel it if the daemon is told to stop.  Returns whether it is complete."""
        working = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
            return False
        working.result()
        return True

    async def _insist(self, work: Callable[[], None]) -> None:
        """Call `work` until it succeeds; retry with backoff while it raises Outage (disk full)."""
        told, failures = "", 0
        while True:
            try:
                work()
            except Outage as error:
                if str(error) != told:
                    told = str(error)
                    _log.error("process.waits", role=SUPERVISOR, why=told, own=False)
            else:
                if told:
                    _log.info("process.waited", role=SUPERVISOR, why=told)
                return
            failures += 1
            await asyncio.sleep(backoff(failures, FIRST_SECONDS, LONGEST_SECONDS))

    def _take_folder(self, stack: ExitStack) -> None:
        """Lock and clear the run folder.  Raises SettingsError, DaemonError, Outage."""
        lock = self._run_folder.lock()
        if lock is None:
            raise DaemonError(
                f"{self._run_folder.path}: another mssante serve is running on this storage; "
                "stop it first"
            )
        with ExitStack() as held:
            held.enter_context(lock)
            self._run_folder.clear()
            self._silent.update(dict.fromkeys((*ROLES, "launcher"), 0))
            self._run_folder.counts_silent(self._silent)
            stack.enter_context(held.pop_all())

    def _plan(self) -> None:
        """Plan the first processes.  Raises SettingsError, Outage."""
        for plan in self._plans(self.settings):
            self._child(plan)

    async def _first_look(self) -> None:
        """Refuse an unfit store.  Raises SettingsError.  An unreachable store is accepted."""
        _tell(outbound_doubts(self.settings))
        with suppress(Outage, TimeoutError):  # the processes report it, and wait
            _tell(
                await wait_within(
                    START_ANSWER_SECONDS, run_detached(partial(check_store, self.settings))
                )
            )

    def _plans(self, settings: Settings) -> list[ProcessPlan]:
        """Plans of one generation, in the order of ROLES.  Raises SettingsError, Outage."""
        self._generation += 1
        launcher = ForkClient(
            self._run_folder.environment(self._generation, settings.tls.groups),
            settings.process.silent_seconds,
            self._count_silent,
        )
        self._launchers.append(launcher)
        numbers = {name: held.fileno() for name, held in self._sockets.items()}
        inbound = StartArgs(
            tuple(numbers[INBOUND, one] for one in settings.inbound.listen), self.debug_peers
        )
        admin = StartArgs((numbers[ADMIN, settings.admin.listen],))
        workers = settings.process.workers or os.cpu_count() or 1
        return [
            *(ProcessPlan("worker", settings, inbound, launcher) for _ in range(workers)),
            ProcessPlan("courier", settings, StartArgs(), launcher),
            ProcessPlan("maintenance", settings, admin, launcher),
        ]

    def _child(self, plan: ProcessPlan) -> Child:
        child = Child(plan, self._note_waiting, self._count_silent)
        self._children.append(child)
        return child

    def _count_silent(self, role: str) -> None:
        self._silent[role] += 1
        self._run_folder.counts_silent(self._silent)

    async def _start_all(self) -> None:
        children = list(self._children)
        outcomes = await asyncio.gather(
            *(child.start() for child in children), return_exceptions=True
        )
        for child, outcome in zip(children, outcomes, strict=True):
            if isinstance(outcome, CannotStart) and not outcome.report.own:
                await child.clear(outcome)
            elif outcome is not None:
                raise outcome
            if child.waits is not None and child.waits.own:
                raise CannotStart(child.plan.role, child.waits.problem, own=True)
        for child in children:
            child.keep()
        self._run_folder.listens(self._sockets)
        self.announce(self._addresses())
        self._note_waiting()
        if not self._waiting:
            self._tell_ready()

    def _tell_ready(self) -> None:
        _log.info("daemon.ready", listen=self._addresses(), processes=len(self._children))

    def _note_waiting(self) -> None:
        """Log begin and end of each wait, once for each role and reason."""
        waiting = {
            (child.plan.role, child.waits.problem): child.waits.own
            for child in self._children
            if child.kept and child.waits is not None
        }
        before, self._waiting = self._waiting, waiting
        for (role, why), own in waiting.items():
            if (role, why) not in before:
                _log.error("process.waits", role=role, why=why, own=own)
        for role, why in before.keys() - waiting.keys():
            _log.info("process.waited", role=role, why=why)
        if waiting.keys() != before.keys():
            self._run_folder.waits(waiting)
            if not waiting:
                self._tell_ready()

    def _addresses(self) -> list[str]:
        return [address(self._sockets[INBOUND, one]) for one in self.settings.inbound.listen]

    async def _supervise(self) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        reloads = asyncio.create_task(self._handle_reloads())
        tasks = (stopped, reloads)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reloads in done:
                reloads.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle_reloads(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()  # a SIGHUP from here on starts another reload after this one
            try:
                await self._replace_all()
            except Outage as error:
                _log.error("reload.refused", why=f"{error}; {_AS_BEFORE}")
            except (SettingsError, CannotStart, OSError) as error:
                _log.error("reload.refused", why=str(error))
            except Exception:
                # Any error: the daemon must keep running.
                _log.exception("reload.error")

    async def _replace_all(self) -> None:
        """Load the configuration and replace every process.

        Raises SettingsError or Outage with nothing changed.  Raises CannotStart or OSError if a new
        process does not start: its predecessor and all processes after it keep running.
        """
        settings = await run_detached(partial(load, self.settings.origin))
        _check_unmoved(self.settings, settings)
        await run_detached(partial(_check, settings))
        try:
            doubts = await wait_within(
                RELOAD_ANSWER_SECONDS, run_detached(partial(check_store, settings))
            )
        except TimeoutError as error:
            message = f"no answer from the store for {RELOAD_ANSWER_SECONDS:g} s"
            raise Outage(message) from error
        _tell([*outbound_doubts(settings), *doubts])
        self._sockets.update(open_sockets(settings, self._sockets))
        _log.info("reload.begun")
        problem: Exception | None = None
        try:
            await self._replace(self._plans(settings))
        except (Outage, CannotStart, SettingsError, OSError) as error:
            problem = error
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self._close_unused()
        if problem is not None:
            raise problem
        self.settings = settings
        logs.configure(settings.log.level, settings.log.format)
        _log.info("reload.done", listen=self._addresses(), processes=len(self._children))

    async def _replace(self, plans: Sequence[ProcessPlan]) -> None:
        old = list(self._children)
        for role in ROLES:
            for plan, predecessor in zip_longest(
                [plan for plan in plans if plan.role == role],
                [child for child in old if child.plan.role == role],
            ):
                if plan is not None:
                    await self._begin(plan)
                if predecessor is not None:
                    self._dismiss(predecessor)

    async def _begin(self, plan: ProcessPlan) -> None:
        child = self._child(plan)
        try:
            await child.start_ready()
        except CannotStart:
            await child.end()
            self._children.remove(child)
            raise
        child.keep()

    def _dismiss(self, child: Child) -> None:
        child.dismiss()
        task = asyncio.create_task(child.gone())
        self._leaving[task] = child
        task.add_done_callback(self._has_left)

    def _has_left(self, task: asyncio.Task[None]) -> None:
        self._children.remove(self._leaving.pop(task))
        self._note_waiting()

    async def _close_unused(self) -> None:
        """End the launchers, close the sockets and remove the files that no process uses."""
        needed = [child.plan.launcher for child in self._children]
        for launcher in list(self._launchers):
            if launcher not in needed:
                await launcher.end()
                self._launchers.remove(launcher)
        used = {number for child in self._children for number in child.plan.launch.sockets}
        for name, held in list(self._sockets.items()):
            if held.fileno() not in used:
                held.close()
                del self._sockets[name]
        self._run_folder.listens(self._sockets)
        self._run_folder.keep([launcher.environment for launcher in self._launchers])

    def _close_sockets(self) -> None:
        for held in self._sockets.values():
            held.close()

    async def _end_all(self) -> None:
        await asyncio.gather(*(child.end() for child in self._children))
        if self._leaving:
            await asyncio.wait(self._leaving)
        await asyncio.gather(*(launcher.end() for launcher in self._launchers))
        _log.info("daemon.stopped")


def _check(settings: Settings) -> None:
    """Check the settings without asking any outside service.  Raises SettingsError."""
    trust = open_trust(settings)
    open_tls(settings, tls.server_context, trust)
    open_crls(settings, trust)
    known_node_name(settings)
    check_outbound(settings)
    make_router(settings)
    postmaster_address(settings)


def _tell(doubts: Sequence[str]) -> None:
    for doubt in doubts:
        _log.warning("config.doubt", detail=doubt)


def _check_unmoved(old: Settings, new: Settings) -> None:
    """Refuse a change of the place where mail is stored.  Raises SettingsError."""
    for key in StorageSection.model_fields:
        if key not in STORAGE_THAT_MAY_CHANGE:
            before, now = getattr(old.storage, key), getattr(new.storage, key)
            if before != now:
                raise SettingsError(
                    f"{new.origin}: storage.{key}: cannot change while the daemon runs; "
                    "restore the old value, or stop and start the daemon"
                )
