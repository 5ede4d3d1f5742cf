"""Guard against blocking calls in an event loop: blockbuster refuses each such call of our code.

The table below lists the exceptions with their reasons. A test itself may block: a call counts only
if the loop makes it through modules of the relay and of the packages below it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from blockbuster import BlockBuster

import foundation
import relay

_TESTS: Final = str(Path(__file__).parents[2])

# File, function, reason why it may block.
MEANT: Final = (
    (
        "relay/queue/wakeup.py",
        "_open_fifo",
        "once, when the courier starts, and before it does anything",
    ),
    ("sealed/draft.py", "discard", "the draft of a message that is broken off: one unlink, rarely"),
    ("structlog/_base.py", "_proxy_to_logger", "the daemon's log never waits (log_writer.py)"),
)


@contextmanager
def loop_watched() -> Iterator[None]:
    """Refuse blocking calls of the relay in an event loop, with BlockingError, during the block."""
    detector = _detector()
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()


@cache
def _detector() -> BlockBuster:
    detector = BlockBuster(scanned_modules=[relay, foundation])
    for function in detector.functions.values():
        for file, name, _ in MEANT:
            function.can_block_in(file, name)
        function.can_block_predicate = _or_by_a_test(function.can_block_predicate)
    return detector


def _or_by_a_test(allowed: Callable[..., bool]) -> Callable[..., bool]:
    def by_a_test(*args: Any, **kwargs: Any) -> bool:
        if allowed(*args, **kwargs):
            return True
        frame = sys._getframe(2)
        while frame.f_back is not None:
            if frame.f_code.co_filename.startswith(_TESTS):
                return True
            if frame.f_code.co_filename.endswith("asyncio/events.py"):
                return False
            frame = frame.f_back
        return False

    return by_a_test
