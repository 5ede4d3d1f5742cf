"""Heartbeat: a process that answers lives on; a silent process is logged, counted and killed."""

import asyncio
import os
import signal
import socket
import sys

import pytest
from structlog.testing import capture_logs

from mssante_operator.daemon import control_channel, heartbeat
from mssante_operator.daemon.control_channel import Orders, ProcessReport, ReportReader
from mssante_operator.daemon.heartbeat import Heartbeat, ProcessState, state_of
from mssante_operator.daemon.silence import Silence
from mssante_operator.daemon.subreaper import ChildProcess
from tests.support.waiting import until

SHORT = 0.1  # seconds of silence


def sleeper() -> ChildProcess:
    return ChildProcess(
        os.posix_spawn(
            sys.executable, [sys.executable, "-c", "import time; time.sleep(100)"], os.environ
        )
    )


async def stopped(process: ChildProcess) -> None:
    process.send(signal.SIGSTOP)
    await until(lambda: state_of(process.pid).word == "stopped")


async def test_a_silent_process_is_logged_counted_and_killed() -> None:
    process, asked, killed = sleeper(), list[None](), list[str]()
    await stopped(process)
    beat = Heartbeat("worker", process, Silence(SHORT), lambda: asked.append(None), killed.append)
    with capture_logs() as logs:
        async with asyncio.timeout(60):
            await beat.run()
    assert await process.wait() == -signal.SIGKILL
    assert (len(asked), killed) == (1, ["worker"])
    [told] = logs
    assert told["event"] == "process.silent"
    assert (told["role"], told["pid"], told["state"]) == ("worker", process.pid, "stopped")
    assert told["seconds"] >= SHORT
    assert (told["stack"], told["threads"]) == ((), ())
    assert "no stack: stopped by a signal (SIGSTOP)" in told["detail"]


async def test_one_that_a_debugger_holds_is_told_of_and_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, killed = sleeper(), list[str]()
    states = iter([ProcessState("tracing stop", 77)] * 2)
    monkeypatch.setattr(heartbeat, "state_of", lambda _: next(states, ProcessState("stopped")))
    beat = Heartbeat("courier", process, Silence(SHORT), lambda: None, killed.append)
    with capture_logs() as logs:
        async with asyncio.timeout(60):
            await beat.run()  # the debugger goes away, then the process is killed
    assert [one["event"] for one in logs] == ["process.traced"] * 2 + ["process.silent"]
    assert "traced by process 77" in logs[0]["detail"]
    assert killed == ["courier"]
    await process.wait()


async def test_questions_are_answered_between_other_words() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for line in (ours, theirs):
            line.settimeout(0)
        orders, answers = Orders(), list[None]()
        following = asyncio.create_task(control_channel.watch(theirs, orders))
        reports = ReportReader(ours, lambda: answers.append(None))
        hearing = asyncio.create_task(reports.next_report())
        for number in range(1, 4):
            control_channel.send_ping(ours)
            await until(lambda number=number: len(answers) == number)  # type: ignore[misc]
        assert not orders.stop.is_set()
        ours.sendall(b"ali")  # a message may come in pieces
        await asyncio.sleep(0)
        ours.sendall(b"ve?\nleave\n")
        async with asyncio.timeout(60):
            await orders.stop.wait()
        assert not orders.hurry.is_set()
        control_channel.send_report(theirs, ProcessReport("why", own=True))
        assert await hearing == ProcessReport("why", own=True)
        assert len(answers) == 4
        ours.shutdown(socket.SHUT_RDWR)
        await following
        assert orders.hurry.is_set()
        control_channel.send_ping(ours)  # the other end is closed, and nothing is raised


def test_the_state_of_a_process() -> None:
    assert state_of(os.getpid()).word == "running"
    assert state_of(os.getpid()).tracer == 0
    assert state_of(2**22 + 1) == ProcessState()
