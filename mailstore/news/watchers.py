"""Watchers of mailboxes within a process, each with one fact: told of a change, or not.

A slow watcher is told once however much changes: nothing queues.
Used in one event loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Self


class Watcher:
    """Watches one mailbox, for one task.

    First watch, then look: the watcher is told of a change after `watch`, and a change before it is
    there to see. Each return of `changed` forgets what was told, before the task looks again: so no
    change is lost in between. It may be told without a change: look, and find nothing new.
    """

    __slots__ = ("_left", "_told", "closed", "mailbox_id")

    def __init__(self, mailbox_id: int, left: Callable[["Watcher"], None]) -> None:
        self.mailbox_id = mailbox_id
        self.closed = False
        self._told = asyncio.Event()
        self._left = left

    @property
    def told(self) -> bool:
        """True if the mailbox may have changed since the last look."""
        return self._told.is_set()

    def tell(self) -> None:
        """Note that the mailbox may have changed."""
        self._told.set()

    async def changed(self) -> bool:
        """Wait for a change after the last one returned; False once the watcher is closed."""
        await self._told.wait()
        if self.closed:
            return False
        self._told.clear()
        return True

    def close(self) -> None:
        """Watch no longer; `changed` returns False at once."""
        if not self.closed:
            self.closed = True
            self._told.set()
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
        """Tell the watchers of changed mailboxes."""
        for number in mailbox_ids:
            for watcher in self._by_mailbox.get(number, ()):
                watcher.tell()

    def tell_all(self) -> None:
        """Tell all watchers: which mailboxes have changed is unknown."""
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
