"""Standard error of a daemon process, written by a thread: a slow reader blocks nothing.

`write` takes microseconds, never raises and never blocks.  The other end may be a pipe without a
reader (EPIPE), a pipe with a slow reader, or a file on a full or broken disk (ENOSPC, EIO).  Lines
are buffered in memory up to a limit.  Lines beyond it are lost and counted; one log line reports
the number as soon as writing works again (docs/decisions/0032-information-is-best-effort.md).

A killed process loses the lines of its last hundredth of a second.
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
GATHER_SECONDS: Final = 0.01  # wait after the first line, so that one write takes several lines
MAX_PENDING: Final = 1024 * 1024  # limit of the buffer, in characters
STALL_SECONDS: Final = 5.0  # a longer write is reported as failing
CLOSE_SECONDS: Final = 2.0  # longest wait for the reader when the process exits


class LogWriter(io.TextIOBase):
    """Text file on a descriptor. `lost_lines`: number of lines lost so far."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.lost_lines = 0
        self._descriptor = descriptor
        # Re-entrant: the garbage collector may run in the middle, and a finalizer may log.
        self._changed = threading.Condition(threading.RLock())
        self._pending: list[str] = []
        self._size = 0
        self._told = 0  # lost lines already reported by a log line
        self._began: float | None = None  # start of the write in progress, monotonic
        self._failing = False
        self._torn = False
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def failing(self) -> bool:
        """Whether lines are being lost, or the write in progress is longer than STALL_SECONDS."""
        began = self._began
        return self._failing or (began is not None and time.monotonic() - began > STALL_SECONDS)

    def writable(self) -> bool:
        """Always True."""
        return True

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, text: str, /) -> int:
        """Buffer a text for the thread, or count it as lost.  Returns its length in characters.

        Raises TypeError for octets: Click writes octets as a test, and if they are accepted it
        writes no text any more.
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
        """Do nothing: the caller must not block."""

    def finish(self) -> None:
        """Wait until the buffer is written, for CLOSE_SECONDS at most."""
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
            except RuntimeError:  # too many threads; the next line tries again
                self._pending, self._size = [], 0
                self._lose(1)
                return
            self._thread = thread
        self._changed.notify_all()

    def _lose(self, lines: int) -> None:
        self.lost_lines += lines
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
                lost_lines, self._told = self.lost_lines - self._told, self.lost_lines
            if lost_lines:
                with suppress(Exception):  # like logs.py, which may not be set up yet
                    _log.warning("log.dropped", lines=lost_lines)

    def _put(self, octets: bytes) -> bytes:
        """Write octets.  Returns the octets that could not be written."""
        if self._torn:
            octets = b"\n" + octets
        while octets:
            try:
                done = os.write(self._descriptor, octets)
            except BlockingIOError:  # another process made the descriptor non-blocking
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
    """Replace `sys.stderr` by a LogWriter until the process exits.

    No change if `sys.stderr` is not on descriptor 2 any more.
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
    """Open descriptors 0 to 2 on /dev/null where the parent process has closed them.

    Otherwise a file opened later, even the database, would get such a number and receive the log.
    """
    for number in (STANDARD_INPUT, STANDARD_OUTPUT, STANDARD_ERROR):
        try:
            os.fstat(number)
        except OSError:
            # The new descriptor has the lowest free number.  Child processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - os's own
    if sys.stdout is None:
        sys.stdout = os.fdopen(STANDARD_OUTPUT, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STANDARD_ERROR, "w", closefd=False)


def hush(stream: TextIO) -> None:
    """Send the rest of a stream that fails to /dev/null."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
