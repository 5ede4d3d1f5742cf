"""The supervisor learns how each process ended, even if the launcher started it."""

import os
import signal
import subprocess
import sys

import pytest

from mssante_operator.daemon.subreaper import ChildProcess


def child(code: str) -> ChildProcess:
    return ChildProcess(os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ))


@pytest.mark.parametrize("code", [0, 1, 77])
async def test_the_exit_code(code: int) -> None:
    process = child(f"raise SystemExit({code})")
    assert await process.wait() == code
    assert await process.wait() == code
    assert process.ended
    process.kill()  # it has ended, and no other process gets the signal
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_the_signal() -> None:
    process = child("input()")
    assert not process.ended
    process.kill()
    assert await process.wait() == -signal.SIGKILL


ORPHAN = """
import asyncio, os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from mssante_operator.daemon.subreaper import ChildProcess, adopt_orphans
adopt_orphans()
reading, writing = os.pipe()
starter = os.fork()
if not starter:
    orphan = os.fork()
    if orphan:
        os.write(writing, str(orphan).encode())
        os._exit(0)
    os.kill(os.getpid(), signal.SIGTERM)
os.waitpid(starter, 0)

async def wait():
    return await ChildProcess(int(os.read(reading, 100))).wait()

print(asyncio.run(wait()))
"""


def test_an_orphan_that_was_adopted() -> None:
    # Even if the supervisor's parent had set SIGCHLD to be ignored.
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("-15\n", "", 0)
