"""Reaping: how the supervisor learns of the exit of a process.

The launcher forks each process through an intermediate process, which exits at once.  The kernel
gives such orphans to the nearest ancestor that is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER):
the supervisor.  So the processes survive the launcher, and the supervisor gets each exit code.
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
    """Make this process the parent of orphaned descendants.  Raises OSError except on Linux."""
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = getattr(libc, "prctl", None)
    if prctl is None:
        raise OSError("only Linux can run the processes of the daemon: it has prctl(2)")
    if prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    # If the parent had set SIGCHLD to be ignored, exit codes of children would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class ChildProcess:
    """Child process, reaped when it exits, awaited or not.  Create it in the event loop.

    `stack`: read end of the pipe for its stacks (stack_dump.py), closed when it is reaped.
    """

    def __init__(self, pid: int, stack: FileIO | None = None) -> None:
        self.pid = pid
        self.stack = stack
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        # A thread for each process, like asyncio.  pidfd_open needs none, but needs Linux 5.3.
        Thread(target=self._watch, name=f"process-{pid}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether the process was reaped."""
        return self._code.done()

    async def wait(self) -> int:
        """Wait for the exit.  Returns the exit code, or a signal's number negated."""
        return await asyncio.shield(self._code)

    def kill(self) -> None:
        """Send SIGKILL unless it has ended."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal unless it has ended."""
        if not self.ended:  # the pid cannot be reused before it is reaped
            os.kill(self.pid, number)

    def _watch(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        if self.stack is not None:
            self.stack.close()
        self._code.set_result(os.waitstatus_to_exitcode(status))
