"""Forced exit: a process exits in time even if a thread of it hangs.

At exit Python waits for the threads of executors.  A thread that waits for a vanished database or
store would delay the exit until TCP gives up.
"""

import os
import sys
import threading
import time
from typing import Final

import structlog

from foundation.best_effort import best_effort

from ..log_writer import LogWriter

_log = structlog.get_logger(__name__)

LATE_SECONDS: Final = 3.0  # after the process's own deadline, until it is forced to exit
THREADS_SECONDS: Final = 1.0  # timeout for threads to end, once all work is done


def end_within(seconds: float, code: int) -> None:
    """Force this process to exit with `code` after `seconds`, if it still runs.

    Nothing is lost: acknowledged mail is on disk, as with SIGKILL.  Log lines are written first.
    """
    threading.Thread(target=_end, args=(seconds, code), name="last resort", daemon=True).start()


def _end(seconds: float, code: int) -> None:
    time.sleep(seconds)
    with best_effort:
        waiting = sorted(one.name for one in threading.enumerate() if not one.daemon)
        _log.warning("process.cut_off", threads=waiting)
    if isinstance(sys.stderr, LogWriter):
        sys.stderr.finish()
    os._exit(code)
