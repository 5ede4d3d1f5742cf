"""Standard error of a process of the daemon: written by a thread, so that no reader is waited for.

`write` takes microseconds, never raises and never waits: the other end may be a pipe that nobody
reads any more (EPIPE) or at the moment, or a file on a full or broken disk (ENOSPC, EIO).  Lines
wait in memory up to a bound; lines beyond it are lost, counted, and told of by one line as soon as
lines can be written again (docs/decisions/0032-information-is-best-effort.md).

A process that is killed loses the lines of its last hundredth of a second.
"""

import atexit
import io
import os
import select
import sys
import threading
import time
from contextlib import suppress
from typing import Final, TextIO

import structlog

_log = structlog.get_logger(__name__)

STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR = range(3)
GATHER_SECONDS: Final = 0.01  # from the first line to the write that takes all that came since
MAX_PENDING: Final = 1024 * 1024  # characters that wait for a slow reader
STALL_SECONDS: Final = 5.0  # for which one write may take, before readiness tells of it
CLOSE_SECONDS: Final = 2.0  # that the end of the process waits for a reader


class LogWriter(io.TextIOBase):
    """A text file on a descriptor; `lost` is how many lines it did not take so far."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.lost = 0
        self._descriptor = descriptor
        # A lock that its holder may take again: what is collected in the middle may write too.
        self._changed = threading.Condition(threading.RLock())
        self._pending: list[str] = []
        self._size = 0
        self._told = 0  # of the lost lines, those that a line tells of
        self._began: float | None = None  # when the write under way did
        self._failing = False
        self._torn = False
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def failing(self) -> bool:
        """Whether lines are lost now, or wait for a reader for too long."""
        began = self._began
        return self._failing or (began is not None and time.monotonic() - began > STALL_SECONDS)

    def writable(self) -> bool:
        """As a text file has it."""
        return True

    def isatty(self) -> bool:
        """Whether somebody sits before it."""
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, text: str, /) -> int:
        """Have a text written, or counted as lost.  Raises TypeError for octets.

        Click tries with octets whether a file takes them, and would then write no more texts.
        """
        text = "" + text
        with self._changed:
            if self._size + len(text) > MAX_PENDING:
                self._lose(max(text.count("\n"), 1))
            else:
                self._pending.append(text)
                self._size += len(text)
                if len(self._pending) == 1:
                    self._begin()
        return len(text)

    def flush(self) -> None:
        """Nothing: whoever writes is not to wait."""

    def finish(self) -> None:
        """Wait until what was written so far is out, for CLOSE_SECONDS at most."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _begin(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: the next line tries again
                self._pending, self._size = [], 0
                self._lose(1)
                return
            self._thread = thread
        self._changed.notify_all()

    def _lose(self, lines: int) -> None:
        self.lost += lines
        self._failing = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    self._thread, self._closing = None, False
                    return
                if not self._closing:
                    self._changed.wait(GATHER_SECONDS)
                text, self._pending, self._size = "".join(self._pending), [], 0
                self._began = time.monotonic()
            left = self._put(text.encode("utf-8", "backslashreplace"))
            with self._changed:
                self._began = None
                if left:
                    self._lose(left.count(b"\n") or 1)
                    continue
                self._failing = False
                lost, self._told = self.lost - self._told, self.lost
            if lost:
                with suppress(Exception):  # as logs.py has it, were it not set up (yet)
                    _log.warning("log.dropped", lines=lost)

    def _put(self, octets: bytes) -> bytes:
        """Write octets; returns those that could not be."""
        if self._torn:
            octets = b"\n" + octets
        while octets:
            try:
                done = os.write(self._descriptor, octets)
            except BlockingIOError:  # somebody has told the descriptor not to wait
                self._await_room()
                continue
            except OSError:
                return octets
            self._torn = octets[done - 1 : done] != b"\n"
            octets = octets[done:]
        return b""

    def _await_room(self) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        room.poll(1000)


def take_over() -> None:
    """Have all that this process writes to standard error written so, up to its end.

    Where somebody else has put another file into its place, all stays as it is.
    """
    try:
        if sys.stderr.fileno() != STANDARD_ERROR:
            return
    except (OSError, ValueError):
        return
    writer = LogWriter(STANDARD_ERROR)
    atexit.register(writer.finish)
    sys.stderr = writer


def hold_standard_descriptors() -> None:
    """Open, to nowhere, those that our parent has closed.

    A file that is opened later would have such a number, were it the database, and get the log.
    """
    for number in (STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR):
        try:
            os.fstat(number)
        except OSError:
            # It has the lowest free number; processes that are started are to have it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - os's own
    if sys.stdout is None:
        sys.stdout = os.fdopen(STANDARD_OUTPUT, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STANDARD_ERROR, "w", closefd=False)


def hush(stream: TextIO) -> None:
    """Have what is still to be written to a stream that fails go nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
