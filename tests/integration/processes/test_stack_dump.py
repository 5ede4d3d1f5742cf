"""Stack of a process that hangs: written by the process, bounded, without values."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from mssante_operator.daemon import stack_dump
from mssante_operator.daemon.stack_dump import MAX_FRAMES, MAX_THREADS, StackDump, parse
from mssante_operator.daemon.subreaper import ChildProcess
from tests.support.machines.processes import state_of
from tests.support.waiting import until

# The event loop waits for a lock for ever; threads of an executor are idle.
CHILD = """
import asyncio, sys, threading, time, uvloop
from mssante_operator.daemon import stack_dump
stack_dump.register(int(sys.argv[1]))

def hangs(subject):
    with threading.Lock() as lock:
        locked = threading.Lock()
        locked.acquire()
        print("hangs", flush=True)
        locked.acquire()

async def handles(letter):
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.1) for _ in range(3)))
    hangs(letter)

uvloop.run(handles("the secret of a patient"))
"""


async def start(code: str) -> tuple[ChildProcess, int]:
    """Start a process with a pipe for stacks; returns it and its output, after its first line."""
    reading, writing = stack_dump.open_pipe()
    out, printed = os.pipe()
    with writing:
        os.set_inheritable(writing.fileno(), True)
        pid = os.posix_spawn(  # noqa: ASYNC221 - as the launcher is started
            sys.executable,
            [sys.executable, "-c", code, str(writing.fileno())],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, printed, 1)],
        )
    os.close(printed)
    assert await asyncio.to_thread(os.read, out, 100)
    return ChildProcess(pid, reading), out


async def end(process: ChildProcess, out: int) -> None:
    process.kill()
    await process.wait()
    os.close(out)


async def test_the_stack_names_the_function_that_hangs_and_no_value() -> None:
    process, out = await start(CHILD)
    os.kill(process.pid, stack_dump.SIGNAL)  # a signal of another sender, whose text was not read
    await until(lambda: state_of(process.pid) == "S")
    stacks = await stack_dump.take_stacks(process)
    assert [frame.partition(" ")[2] for frame in stacks.loop[:2]] == ["hangs", "handles"]
    assert stacks.loop[0].startswith("<string>:")
    [idle] = stacks.threads
    assert idle.startswith("3 x ")
    assert "futures/thread.py:" in idle
    assert "secret" not in str(stacks)
    assert await stack_dump.take_stacks(process) == stacks, "it goes on as before"
    await end(process, out)
    assert process.stack is not None
    assert process.stack.closed
    assert await stack_dump.take_stacks(process) == StackDump()


async def test_a_stopped_process_gives_none() -> None:
    process, out = await start(CHILD)
    process.send(signal.SIGSTOP)
    await until(lambda: state_of(process.pid) == "T")
    assert await stack_dump.take_stacks(process) == StackDump()
    await end(process, out)


async def test_a_pipe_that_nobody_reads_does_not_hold_the_process_up() -> None:
    # 2000 stacks do not fit in the pipe.
    process, out = await start(
        "import os, sys, time\n"
        "from mssante_operator.daemon import stack_dump\n"
        "stack_dump.register(int(sys.argv[1]))\n"
        "for _ in range(2000): os.kill(os.getpid(), stack_dump.SIGNAL)\n"
        "print('done', flush=True)\n"
        "time.sleep(100)"
    )
    stacks = await stack_dump.take_stacks(process)
    assert stacks.loop in {(f"<string>:{line} <module>",) for line in (5, 6)}, "none of before"
    await end(process, out)


TEXT = """Thread 0x00007f2a (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 81 in wait

Thread 0x00007f2b [journal] (most recent call first):
  File ???, line ??? in work

Current thread 0x00007f2c [python] (most recent call first):
  File "/opt/a b/server/session.py", line 7 in <lambda>
  File "/opt/mssante/relay/server/session.py", line 274 in deliver

Current thread's C stack trace (most recent call first):
  Binary file "/usr/bin/python3", at _Py_DumpStack+0x48 [0x5a]
  <truncated rest of calls>
"""


def test_the_texts_of_all_pythons() -> None:
    assert parse(TEXT, Path("/opt/mssante")) == StackDump(
        ("server/session.py:7 <lambda>", "relay/server/session.py:274 deliver"),
        ("1 x python3.11/threading.py:81 wait", "1 x ???:??? work"),
    )
    alone = 'Stack (most recent call first):\n  File "/a/b/c.py", line 1 in f\n'
    assert parse(alone) == StackDump(("b/c.py:1 f",))


def test_whatever_comes_is_bounded() -> None:
    frame = '  File "/a/b/c.py", line 1 in f\n'
    current = f"Current thread 0x1 (most recent call first):\n{frame * 100}"
    other = "".join(
        f'Thread 0x{n:x} (most recent call first):\n  File "/a/b/c.py", line {n} in f\n{frame * 99}'
        for n in range(100)
    )
    stacks = parse(other + current)
    assert len(stacks.loop) == MAX_FRAMES
    assert len(stacks.threads) == MAX_THREADS
    assert len(str(stacks)) < 4000
    for cut in range(0, len(TEXT), 7):
        parse(TEXT[:cut])
    assert parse("\0\xff{}") == StackDump()
