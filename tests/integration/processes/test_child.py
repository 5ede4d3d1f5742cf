"""A process that does not start is started again, as long as its daemon lives."""

import asyncio
import errno
import os
import signal
import socket
from pathlib import Path

import pytest

from mssante_operator.daemon import child as child_module
from mssante_operator.daemon.child import CannotStart, Child, ProcessPlan
from mssante_operator.daemon.control_channel import ProcessReport
from mssante_operator.daemon.fork_client import ForkClient
from mssante_operator.daemon.start_args import StartArgs
from mssante_operator.daemon.subreaper import ChildProcess
from mssante_operator.machine.run_directory import METRICS
from tests.support.machines.daemon import Daemon, client, lay_out, served
from tests.support.machines.operators import ACTIVE
from tests.support.waiting import until_now


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return lay_out(tmp_path / "a", "a", workers=1)


def test_memory_has_one_arena(daemon: Daemon) -> None:
    with served(daemon):
        for pid in daemon.processes():
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert b"MALLOC_ARENA_MAX=1" in environment


def test_one_that_is_killed_as_it_starts_is_replaced_again(daemon: Daemon) -> None:
    # As under memory pressure: the kernel kills the process, then its replacement during its start.
    with served(daemon):
        (worker,) = daemon.processes("worker")
        os.kill(worker, signal.SIGKILL)
        seen = {worker}
        for _ in range(2):
            until_now(lambda: bool(daemon.processes("worker") - seen), 30)
            (next_one,) = daemon.processes("worker") - seen
            os.kill(next_one, signal.SIGKILL)
            seen.add(next_one)
        until_now(lambda: bool(daemon.processes("worker") - seen), 30)
        with client(daemon, "b") as smtp:
            smtp.sendmail("dr@b.mssante.fr", [ACTIVE], b"From: <dr@b.mssante.fr>\r\n\r\nhello\r\n")
    until_now(lambda: "process.died" in daemon.log())


async def test_it_is_tried_again_however_often_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    kills, told = 12, list[ProcessReport | None]()
    started = asyncio.Event()

    async def start(child: Child) -> None:
        nonlocal kills
        if kills:
            kills -= 1
            raise CannotStart("worker", "killed by signal 9 during its start", own=False)
        child.waits = None
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Child, "start", start)
    monkeypatch.setattr(child_module, "RESTART_PAUSE", 0.0)
    # The plan does not matter: the process never starts.
    one = Child(
        ProcessPlan("worker", None, StartArgs(), None),  # type: ignore[arg-type]
        lambda: told.append(one.waits),
    )
    one.keep()
    async with asyncio.timeout(10):
        await started.wait()
    assert kills == 0
    assert set(told) == {ProcessReport("killed by signal 9 during its start")}
    await one.end()


async def test_a_system_that_is_short_of_processes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*_: object) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "posix_spawn", spawn)
    launcher = ForkClient({METRICS: str(tmp_path)})
    one = Child(ProcessPlan("worker", None, StartArgs(), launcher), lambda: None)  # type: ignore[arg-type]
    with pytest.raises(CannotStart) as error:
        await one.start()
    assert error.value.report == ProcessReport(
        "[Errno 11] Resource temporarily unavailable", own=False
    )
    await launcher.end()


def sleeper() -> int:
    """A process that does nothing, in place of the launcher."""
    return os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)


async def test_one_that_could_not_be_forked_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive(_: socket.socket) -> ProcessReport:
        return ProcessReport("Cannot allocate memory")

    monkeypatch.setattr("mssante_operator.daemon.fork_client.control_channel.receive_pid", receive)
    ours, theirs = socket.socketpair()
    stand_in = ChildProcess(sleeper())
    launcher = ForkClient({}, _line=ours, _process=stand_in)
    monkeypatch.setattr(
        "mssante_operator.daemon.fork_client.fork_server.request_fork", lambda *_: None
    )
    one = Child(ProcessPlan("worker", None, StartArgs(), launcher), lambda: None)  # type: ignore[arg-type]
    with pytest.raises(CannotStart) as error:
        await one.start()
    assert error.value.report == ProcessReport("Cannot allocate memory", own=False)
    await launcher.end()
    stand_in.kill()
    await stand_in.wait()
    theirs.close()
