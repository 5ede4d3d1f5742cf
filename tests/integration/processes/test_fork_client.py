"""Processes forked from a launcher are restarted, named and ended like executed processes.

docs/decisions/0018.  The daemon and the kills are real.
"""

import asyncio
import ctypes
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from mssante_operator.daemon import control_channel, fork_client
from mssante_operator.daemon.fork_client import ForkClient
from mssante_operator.daemon.subreaper import adopt_orphans
from mssante_operator.machine.run_directory import METRICS
from tests.support.machines.daemon import Daemon, served
from tests.support.machines.reloading import (
    PATIENCE,
    alive,
    change,
    operator,
    reload,
    under_load,
    wait,
)
from tests.support.waiting import until, until_now

ROLES = ("worker", "courier", "maintenance")


@pytest.fixture
def operator_a(tmp_path: Path) -> Daemon:
    return operator(tmp_path / "a", "a", workers=2)


def only(pids: set[int]) -> int:
    (one,) = pids
    return one


def died(daemon: Daemon) -> list[tuple[str, int, int]]:
    """Processes that died, from the log: role, pid, code."""
    return [(one["role"], one["pid"], one["code"]) for one in daemon.events("process.died")]


def counted(metrics: Path, files: str) -> set[int]:
    """Pids in the names of these metric files."""
    return {int(path.stem.rpartition("_")[2]) for path in metrics.glob(files)}


def test_a_killed_launcher_takes_nobody_with_it_and_is_replaced(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        old, first = daemon.processes(), only(daemon.processes("launcher"))
        with under_load(daemon) as load:
            os.kill(first, signal.SIGKILL)
            wait(daemon, "process.died")
            assert died(daemon) == [("launcher", first, -signal.SIGKILL)]
            load.goes_on()
            assert daemon.processes() == old
        # Their launcher is dead, and yet their exit is noticed.
        for number, role in enumerate(ROLES, 2):
            victim = min(daemon.processes(role))
            os.kill(victim, signal.SIGKILL)
            wait(daemon, "process.died", number)
            assert died(daemon)[-1] == (role, victim, -signal.SIGKILL)
            until_now(lambda: len(daemon.processes()) == 4, PATIENCE)
        second = only(daemon.processes("launcher"))
        assert second != first
        assert len(daemon.processes() & old) == 1
        seen = old | daemon.processes() | {first, second}
        reload(daemon)
        assert daemon.stop() == 0
        assert alive(seen) == set()
        assert len(died(daemon)) == 1 + len(ROLES)


def test_launcher_and_worker_killed_at_once(operator_a: Daemon) -> None:
    # Like the kernel when a control group is out of memory.
    with served(operator_a) as daemon:
        for victim in (only(daemon.processes("launcher")), *daemon.processes("worker")):
            os.kill(victim, signal.SIGKILL)
        wait(daemon, "process.died", 3)
        until_now(lambda: len(daemon.processes("worker")) == 2, PATIENCE)
        with under_load(daemon):
            assert len(daemon.processes()) == 4
        assert daemon.stop() == 0


def test_one_launcher_for_each_generation(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        first = only(daemon.processes("launcher"))
        os.kill(min(daemon.processes("worker")), signal.SIGKILL)
        wait(daemon, "process.died")
        until_now(lambda: len(daemon.processes("worker")) == 2, PATIENCE)
        assert daemon.processes("launcher") == {first}
        reload(daemon)
        second = only(daemon.processes("launcher"))
        assert second != first
        assert alive({first}) == set()
        old = daemon.processes("worker")
        daemon.hang_up()
        until_now(lambda: bool(daemon.processes("worker") - old), PATIENCE)
        os.kill(only(daemon.processes("worker") - old), signal.SIGKILL)
        wait(daemon, "reload.refused")
        assert "killed by signal 9 during its start" in daemon.events("reload.refused")[0]["why"]
        assert daemon.processes("launcher") == {second}
        assert daemon.processes("worker") == old
        assert [role for role, _, _ in died(daemon)] == ["worker"]


def test_what_is_stuck_is_killed(operator_a: Daemon) -> None:
    change(operator_a, "process", stop_seconds="0.1", workers="2")
    with served(operator_a) as daemon:
        stuck = {min(daemon.processes("worker")), only(daemon.processes("launcher"))}
        seen = daemon.processes() | stuck
        for pid in stuck:
            os.kill(pid, signal.SIGSTOP)
        assert daemon.stop() == 0
        assert {one["pid"] for one in daemon.events("process.stuck")} == stuck
        assert alive(seen) == set()


def test_a_role_that_cannot_start_says_why(operator_a: Daemon) -> None:
    (operator_a.folder / "data" / "node").mkdir()  # the courier's name is stored there
    said = operator_a.run("serve", code=1)
    assert "data/node: no valid machine name: Is a directory; remove it" in said
    assert "Traceback" not in said


def test_what_ps_shows(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        for role in ("launcher", *ROLES):
            for pid in daemon.processes(role):
                words = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
                assert words[-3:] == ["-m", "mssante_operator.roles", role]
                comm = Path(f"/proc/{pid}/comm").read_text()
                assert comm == f"mssante-{role}"[:15] + "\n"  # TASK_COMM_LEN


def test_the_launcher_has_begun_nothing_that_a_fork_would_copy(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        launcher = Path(f"/proc/{only(daemon.processes('launcher'))}")
        assert len(list((launcher / "task").iterdir())) == 1
        held = [str(one.readlink()) for one in (launcher / "fd").iterdir()]
        assert len([one for one in held if one.startswith("socket:")]) == 1, "its line"
        assert [one for one in held if "data/" in one and "/metrics/" not in one] == []


def test_each_process_counts_for_itself_and_the_launcher_for_nobody(operator_a: Daemon) -> None:
    with served(operator_a) as daemon:
        metrics = daemon.folder / "data" / "run" / "metrics"
        launcher = only(daemon.processes("launcher"))
        with under_load(daemon):
            # A few connections stay on one worker; the second worker gets its first session later.
            until_now(lambda: daemon.processes("worker") <= counted(metrics, "counter_*.db"))
        counting = counted(metrics, "*.db")
        assert counting - {launcher} <= daemon.processes()
        assert len(daemon.processes("worker")) == 2
        own = list(map(str, metrics.glob(f"*_{launcher}.db")))
        merged = MultiProcessCollector.merge(own)  # type: ignore[no-untyped-call]
        assert {sample.value for family in merged for sample in family.samples} == {0.0}


@pytest.fixture
def as_supervisor() -> Iterator[None]:
    """Make this process a subreaper, like a supervisor, for one test."""
    before = signal.getsignal(signal.SIGCHLD)
    adopt_orphans()
    yield
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    signal.signal(signal.SIGCHLD, before)


def children() -> set[int]:
    pid = os.getpid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@pytest.mark.usefixtures("as_supervisor")
async def test_a_process_nobody_waits_for_any_more_is_sent_away(tmp_path: Path) -> None:
    before = children()
    one = ForkClient({METRICS: str(tmp_path)})
    launching = asyncio.create_task(one.launch("worker", ()))
    await until(lambda: bool(children() - before))
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    # The next request is served after the cancelled request, which was not lost.
    process, line = await one.launch("courier", ())
    line.close()
    assert await process.wait() == 1  # the supervisor is gone
    await one.end()
    assert children() == before


@pytest.mark.usefixtures("as_supervisor")
async def test_a_launcher_that_dies_on_the_way_is_replaced_once(tmp_path: Path) -> None:
    one = ForkClient({METRICS: str(tmp_path)})
    before = children()
    launching = asyncio.create_task(one.launch("worker", ()))
    await until(lambda: bool(children() - before))
    os.kill(only(children() - before), signal.SIGKILL)
    process, line = await launching
    await control_channel.send_args(line, b"{}")  # not valid settings
    assert await control_channel.receive_pid(line) is None
    assert await process.wait() == 1
    line.close()
    await one.end()
    assert children() == before


@pytest.mark.usefixtures("as_supervisor")
async def test_a_launcher_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    before = children()
    one = ForkClient({METRICS: str(tmp_path), "PYTHONHOME": str(tmp_path / "none")})
    with pytest.raises(OSError, match="its launcher ended; see the log above"):
        await one.launch("worker", ())
    await one.end()
    with pytest.raises(OSError, match="its launcher ended"):
        await one.launch("worker", ())
    assert children() == before


@pytest.mark.usefixtures("as_supervisor")
async def test_a_launcher_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_client, "STUCK_SECONDS", 0.01)
    one = ForkClient({METRICS: str(tmp_path)})
    before = children()
    with socket.create_server(("127.0.0.1", 0)) as served_by_it:
        process, line = await one.launch("worker", (served_by_it.fileno(),))
    os.kill(only(children() - before - {process.pid}), signal.SIGSTOP)
    await one.end()
    line.close()
    await process.wait()
    assert children() == before
