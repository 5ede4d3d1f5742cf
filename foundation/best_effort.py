"""What only informs - a log line, a metric, an event - must never change what is done.

Mail that is committed is answered, and a recorded ending is followed by the next delivery, whatever
becomes of the telling in between.
"""

from contextlib import suppress
from types import TracebackType
from typing import Final

import structlog

_log = structlog.get_logger(__name__)


class _BestEffort:
    """Lets no error out of what is done under it, and logs it; cancellation passes."""

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
        with suppress(Exception):  # whatever the log is made of
            _log.error("information.error", exc_info=error)
        return True


best_effort: Final = _BestEffort()
