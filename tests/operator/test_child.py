"""A process that is killed as it starts is tried again, for some time."""

import os
import signal
from pathlib import Path

import pytest

from mssante_operator import child as child_module
from mssante_operator.child import ATTEMPTS, CannotStart, Child, Killed, Plan
from mssante_operator.launch import Launch
from tests.support.daemon import Daemon, client, lay_out, served
from tests.support.operators import ACTIVE
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
    # As a system short of memory does: the first that it kills, and the next before it is ready.
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


@pytest.mark.parametrize("kills", [ATTEMPTS - 1, ATTEMPTS])
async def test_so_many_times_and_no_more(monkeypatch: pytest.MonkeyPatch, kills: int) -> None:
    left = kills
    failures: list[Exception] = []

    async def start(_: Child) -> None:
        nonlocal left
        if left:
            left -= 1
            raise Killed("worker process cannot start: signal 9 killed it as it started")

    monkeypatch.setattr(Child, "start", start)
    monkeypatch.setattr(Child, "_bury", lambda _: None)
    monkeypatch.setattr(child_module, "RESTART_PAUSE", 0.0)
    # What it is to be plays no part: it never starts.
    one = Child(Plan("worker", None, Launch(), None), failures.append)  # type: ignore[arg-type]
    if kills < ATTEMPTS:
        await one._replace()
    else:
        with pytest.raises(CannotStart, match="signal 9"):
            await one._replace()
    assert left == 0
