"""The end of a process of the daemon, as its supervisor learns of it.

The processes are forked by a launcher, which may itself die, and yet are the supervisor's own
children: who starts them ends at once, and the kernel gives such orphans to the nearest ancestor
that has asked for them (prctl(2), PR_SET_CHILD_SUBREAPER).  So only the supervisor waits for them,
and it knows how each of them ended.
"""

import asyncio
import ctypes
import os
import signal
from contextlib import suppress
from io import FileIO
from threading import Thread
from typing import Final

_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends.  Raises OSError beside Linux."""
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = getattr(libc, "prctl", None)
    if prctl is None:
        raise OSError("only Linux can run the processes of the daemon: it has prctl(2)")
    if prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    # Where whoever started us ignores it, children leave no word of their end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class Process:
    """A child of this process, made in its event loop; reaped when it ends, awaited or not.

    `stack`: the pipe for the stacks that it writes (stack_dump.py), closed when it has ended.
    """

    def __init__(self, pid: int, stack: FileIO | None = None) -> None:
        self.pid = pid
        self.stack = stack
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        # A thread for each, as asyncio has it; pidfd_open would need none, but Linux 5.3.
        Thread(target=self._watch, name=f"process-{pid}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether it is no more."""
        return self._code.done()

    async def wait(self) -> int:
        """Wait until it has ended; its exit code, or the negative number of a signal."""
        return await asyncio.shield(self._code)

    def kill(self) -> None:
        """Send SIGKILL where it has not ended."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal where it has not ended."""
        if not self.ended:  # until then its number is nobody else's
            os.kill(self.pid, number)

    def _watch(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop has ended before it
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        if self.stack is not None:
            self.stack.close()
        self._code.set_result(os.waitstatus_to_exitcode(status))
