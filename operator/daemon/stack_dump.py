"""Stack of a process that hangs, written by the process when the supervisor sends SIGUSR1.

The handler is C code of the standard library (`faulthandler`): it needs neither the event loop nor
the interpreter's lock.  The text goes into a pipe made by the supervisor: names of files and
functions, line numbers, never a value.  If the pipe is full, the rest of the text is lost and the
process does not block.
"""

import asyncio
import faulthandler
import os
import re
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from .subreaper import ChildProcess

SIGNAL: Final = signal.SIGUSR1
FIRST_SECONDS: Final = 2.0  # timeout of the first octet; a process in a system call may give none
QUIET_SECONDS: Final = 0.1  # pause in the text that marks its end
MAX_OCTETS: Final = 64 * 1024  # limit of a text: capacity of a pipe on Linux
MAX_FRAMES, MAX_THREADS, MAX_THREAD_FRAMES = 50, 10, 10  # limits of a log line

_THREAD: Final = re.compile(r"(Current thread|Thread|Stack) (0x|\().*most recent call first\):")
_FRAME: Final = re.compile(r'  File "?(?P<file>.*?)"?, line (?P<line>\S+) in (?P<function>.*)')
_INSTALLED: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class StackDump:
    """Stacks as frames `package/folder/file.py:LINE function`, the innermost first.

    The path of a file outside the folder of the packages is its last folder and its name.

    `loop`: frames of the main thread, which runs the event loop.
    `threads`: one text `NUMBER x FRAMES` for each distinct stack of the other threads.
    """

    loop: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()


def open_pipe() -> tuple[FileIO, FileIO]:
    """Pipe of one process: the read end and the write end, both non-blocking."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    return FileIO(reading), FileIO(writing, "w")


def register(descriptor: int) -> None:
    """Let this process write its stacks to a descriptor whenever SIGNAL arrives."""
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True, chain=False)


async def take_stacks(process: ChildProcess) -> StackDump:
    """Get the stacks of a process that has called `register`; empty if none come in time."""
    _read(process)  # drop a text that another sender of SIGNAL caused
    process.send(SIGNAL)
    text, waited = b"", 0.0
    while len(text) < MAX_OCTETS and waited < (QUIET_SECONDS if text else FIRST_SECONDS):
        await asyncio.sleep(QUIET_SECONDS / 2)
        waited += QUIET_SECONDS / 2
        if more := _read(process):
            text, waited = text + more, 0.0
    return parse(text[:MAX_OCTETS].decode("ascii", "replace"))


def _read(process: ChildProcess) -> bytes:
    if process.stack is None or process.stack.closed:  # the process has ended
        return b""
    return process.stack.read(MAX_OCTETS) or b""


def parse(text: str, installed: Path = _INSTALLED) -> StackDump:
    """Parse the text of `faulthandler` (Python 3.11 to 3.14), which may be cut off.

    installed: folder of the packages, left out of the paths.
    """
    loop: list[str] = []
    others: list[list[str]] = []
    frames: list[str] = []
    for line in text.splitlines():
        if begin := _THREAD.match(line):
            frames = []
            if begin[1] == "Thread":
                others.append(frames)
            else:
                loop = frames
        elif frame := _FRAME.match(line):
            path = _short(Path(frame["file"]), installed)
            frames.append(f"{path}:{frame['line']} {frame['function']}")
    return StackDump(tuple(loop[:MAX_FRAMES]), tuple(_together(others)))


def _short(file: Path, installed: Path) -> str:
    if file.is_relative_to(installed):
        return str(file.relative_to(installed))
    return "/".join(file.parts[-2:])


def _together(threads: Iterable[list[str]]) -> Iterable[str]:
    found = Counter(" < ".join(frames[:MAX_THREAD_FRAMES]) for frames in threads)
    return [f"{number} x {text}" for text, number in found.most_common(MAX_THREADS)]
