"""Best effort: an error in a log line, a metric or a journal event never stops the work itself.

Committed mail is answered, and a recorded result is followed by the next delivery, even if the
information about them is lost.
"""

from contextlib import suppress
from types import TracebackType
from typing import Final

import structlog

_log = structlog.get_logger(__name__)


class _BestEffort:
    """Logs every error of its block and suppresses it; cancellation passes."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        with suppress(Exception):  # the log itself may fail
            _log.error("information.error", exc_info=error)
        return True


best_effort: Final = _BestEffort()
