"""Code of the relay that runs in an event loop may not block it: blockbuster refuses each call.

Where it may, and why, is said here. A test itself may block: only what the relay's modules call
counts. Looked at are the tests of tests/relay that are coroutines, on asyncio's own loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blockbuster import BlockBuster

import relay

# File and functions of ours, and why they may block.
MEANT: Final[dict[str, tuple[frozenset[str], str]]] = {}


@contextmanager
def loop_watched() -> Iterator[None]:
    """Refuse calls of the relay that block an event loop, with BlockingError, until the end."""
    detector = BlockBuster(scanned_modules=[relay])
    for function in detector.functions.values():
        for file, (names, _) in MEANT.items():
            function.can_block_in(file, names)
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()
