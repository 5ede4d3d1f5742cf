"""Watchers of mailboxes within a process, each with a single mark: changed or not.

A watcher that is slow, or does not look at all, has one mark however much changes: nothing queues.
Used in one event loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Self


class Watcher:
    """Watches one mailbox, for one task.

    First watch, then look: a change after `watch` marks the watcher, a change before it is there to
    see. The mark is removed before the task looks again, so no change is lost in between. A mark
    without a change is possible: look, and find nothing new.
    """

    __slots__ = ("_left", "_marked", "closed", "mailbox_id")

    def __init__(self, mailbox_id: int, left: Callable[["Watcher"], None]) -> None:
        self.mailbox_id = mailbox_id
        self.closed = False
        self._marked = asyncio.Event()
        self._left = left

    @property
    def marked(self) -> bool:
        """True if the mailbox may have changed since the last look."""
        return self._marked.is_set()

    def mark(self) -> None:
        """Note that the mailbox may have changed."""
        self._marked.set()

    async def changed(self) -> bool:
        """Wait for a change after the last one returned; False once the watcher is closed."""
        await self._marked.wait()
        if self.closed:
            return False
        self._marked.clear()
        return True

    def close(self) -> None:
        """Watch no longer; `changed` returns False at once."""
        if not self.closed:
            self.closed = True
            self._marked.set()
            self._left(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        if not await self.changed():
            raise StopAsyncIteration


class Watchers:
    """All open watchers of a process, by mailbox; closed ones are forgotten."""

    def __init__(self) -> None:
        self._by_mailbox: dict[int, set[Watcher]] = {}
        self.present = asyncio.Event()  # set while there is a watcher

    def add(self, mailbox_id: int) -> Watcher:
        """Open a watcher."""
        watcher = Watcher(mailbox_id, self._remove)
        self._by_mailbox.setdefault(mailbox_id, set()).add(watcher)
        self.present.set()
        return watcher

    def tell(self, mailbox_ids: Iterable[int]) -> None:
        """Mark the watchers of changed mailboxes."""
        for number in mailbox_ids:
            for watcher in self._by_mailbox.get(number, ()):
                watcher.mark()

    def tell_all(self) -> None:
        """Mark all watchers: which mailboxes have changed is unknown."""
        self.tell(self._by_mailbox)

    def close(self) -> None:
        """Close all watchers."""
        for watcher in [one for some in self._by_mailbox.values() for one in some]:
            watcher.close()

    def _remove(self, watcher: Watcher) -> None:
        fellows = self._by_mailbox[watcher.mailbox_id]
        fellows.remove(watcher)
        if not fellows:
            del self._by_mailbox[watcher.mailbox_id]
        if not self._by_mailbox:
            self.present.clear()
