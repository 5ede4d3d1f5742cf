"""Stack of a process that hangs: it writes the stack itself, when the supervisor sends SIGUSR1.

The handler is C code of the standard library (`faulthandler`), which needs neither the event loop
nor the interpreter's lock.  It writes to a pipe that the supervisor made for the process: names of
files and functions and numbers of lines, never a value.  A full pipe loses the rest of the text,
and does not hold the process up.
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

from .subreaper import Process

SIGNAL: Final = signal.SIGUSR1
FIRST_SECONDS: Final = 2.0  # for the first octet; a process in a system call may give none
QUIET_SECONDS: Final = 0.1  # without another octet, after which the text is complete
MAX_OCTETS: Final = 64 * 1024  # of a text: what a pipe of Linux holds
MAX_FRAMES, MAX_THREADS, MAX_THREAD_FRAMES = 50, 10, 10  # that are logged

_THREAD: Final = re.compile(r"(Current thread|Thread|Stack) (0x|\().*most recent call first\):")
_FRAME: Final = re.compile(r'  File "?(?P<file>.*?)"?, line (?P<line>\S+) in (?P<function>.*)')
_INSTALLED: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Stacks:
    """Frames as `package/folder/file.py:LINE function`, the innermost first.

    The path of a file that is not installed beside this package is its last folder and its name.

    `loop`: of the main thread, which runs the event loop; `threads`: of the others, equal ones
    together, as one text each with their number in front.
    """

    loop: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()


def open_pipe() -> tuple[FileIO, FileIO]:
    """The ends of the pipe of one process, to read and to write; neither waits."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    return FileIO(reading), FileIO(writing, "w")


def register(descriptor: int) -> None:
    """Have this process write its stacks to a descriptor whenever SIGNAL comes."""
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True, chain=False)


async def take(process: Process) -> Stacks:
    """Ask a process that has registered for its stacks; empty where it gives none in time."""
    _read(process)  # what somebody else asked for
    process.send(SIGNAL)
    text, waited = b"", 0.0
    while len(text) < MAX_OCTETS and waited < (QUIET_SECONDS if text else FIRST_SECONDS):
        await asyncio.sleep(QUIET_SECONDS / 2)
        waited += QUIET_SECONDS / 2
        if more := _read(process):
            text, waited = text + more, 0.0
    return parse(text[:MAX_OCTETS].decode("ascii", "replace"))


def _read(process: Process) -> bytes:
    if process.stack is None or process.stack.closed:  # it has ended
        return b""
    return process.stack.read(MAX_OCTETS) or b""


def parse(text: str, installed: Path = _INSTALLED) -> Stacks:
    """Read the text of `faulthandler`, of Python 3.11 to 3.14, which may be cut.

    `installed` is the folder of the packages, left out of paths.
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
    return Stacks(tuple(loop[:MAX_FRAMES]), tuple(_together(others)))


def _short(file: Path, installed: Path) -> str:
    if file.is_relative_to(installed):
        return str(file.relative_to(installed))
    return "/".join(file.parts[-2:])


def _together(threads: Iterable[list[str]]) -> Iterable[str]:
    found = Counter(" < ".join(frames[:MAX_THREAD_FRAMES]) for frames in threads)
    return [f"{number} x {text}" for text, number in found.most_common(MAX_THREADS)]
