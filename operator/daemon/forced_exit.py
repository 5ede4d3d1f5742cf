"""A process that is to end does, whatever its threads wait for.

Python waits at the end for the threads of executors.  One that asks a database or a store that has
vanished without a word would hold the end up for as long as the system takes to notice.
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

LATE_SECONDS: Final = 3.0  # beyond its own deadline, for a process to take leave and end by itself
THREADS_SECONDS: Final = 1.0  # for threads to end, once all is done


def end_within(seconds: float, code: int) -> None:
    """End this process with an exit code after so long, if it is still there.

    What was acknowledged by then is on disk, as at a SIGKILL; log lines are written out before.
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
