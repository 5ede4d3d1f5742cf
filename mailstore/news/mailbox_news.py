"""News of a process: watchers learn of each change, made by whichever process or machine.

PostgreSQL: one listening connection. SQLite: one reading connection, asked at short intervals while
anybody watches. So the work grows with the changes, and never with the number of watchers.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import URL

from foundation.backoff import backoff
from mailstore.news.changes import CHANNEL
from mailstore.news.notifications import hear
from mailstore.news.payload import mailboxes_of
from mailstore.news.sqlite_changes import SqliteChanges, suppress_busy
from mailstore.news.watchers import Watcher, Watchers

_Result = TypeVar("_Result")

_INTERVAL: Final = 0.015  # seconds between two looks at SQLite's version
_FIRST_WAIT: Final = 1.0  # seconds until a broken SQLite connection is opened again, doubled
_LONGEST_WAIT: Final = 30.0


class MailboxNews:
    """News of the mailboxes of a database, for all watchers of this process's event loop.

    `lost` is called with the reason while changes cannot be heard; once they can, all watchers are
    told, since any mailbox may have changed meanwhile.
    """

    def __init__(self, url: URL, lost: Callable[[str], None]) -> None:
        self._url = url
        self._lost = lost
        self._watchers = Watchers()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._closed = False

    def watch(self, mailbox_id: int) -> Watcher:
        """Watch a mailbox: the watcher is told of every change committed from here on.

        So watch first, then look. Never blocks and never fails: an unknown mailbox never changes,
        and a database that is away tells all its watchers once it is back. After `close` the
        watcher is closed.
        """
        watcher = self._watchers.add(mailbox_id)
        if self._closed:
            watcher.close()
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return watcher

    async def close(self) -> None:
        """Close all watchers and the connection."""
        self._closed = True
        self._watchers.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        hear_changes = self._poll if self._url.get_backend_name() == "sqlite" else self._listen
        while True:
            await self._watchers.present.wait()
            try:
                await hear_changes()
            except Exception as error:
                self._failures += 1
                self._lost(f"{type(error).__name__}: {error}")
                await asyncio.sleep(backoff(self._failures, _FIRST_WAIT, _LONGEST_WAIT))

    def _note_connected(self) -> None:
        self._failures = 0
        self._watchers.tell_all()  # what changed before is none of the changes heard from now on

    async def _listen(self) -> None:
        await hear(
            self._url,
            CHANNEL,
            connected=self._note_connected,
            heard=self._tell,
            lost=self._lost,
        )

    def _tell(self, payload: str) -> None:
        mailboxes = mailboxes_of(payload)
        if mailboxes is None:
            self._watchers.tell_all()
        else:
            self._watchers.tell(mailboxes)

    async def _poll(self) -> None:
        """Tell of changes until nobody watches. Raises sqlite3.Error."""
        changes = SqliteChanges(Path(str(self._url.database)))
        try:
            await _to_the_end(changes.start)
            self._note_connected()
            while self._watchers.present.is_set():
                await asyncio.sleep(_INTERVAL)
                with suppress_busy():
                    if changes.moved():
                        self._watchers.tell(await _to_the_end(changes.read))
        finally:
            changes.close()


async def _to_the_end(work: Callable[[], _Result]) -> _Result:
    """Run in a thread; a cancelled caller waits too, since the thread cannot be stopped."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    finally:
        await asyncio.gather(running, return_exceptions=True)
