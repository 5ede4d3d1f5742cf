"""Word of deliveries: information, given after their commit, for which no reply waits.

PostgreSQL lets one commit with a NOTIFY happen at a time, whichever machine makes it, and holds the
next until it is on disk. So the transaction of a delivery has none: a transaction of its own tells
of it, and does not wait for the disk. A process killed in between loses the word alone: the next
change of the mailbox, or its client's next look, shows the mail. SQLite's watchers find new entries
by their ids.
"""

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from foundation.best_effort import best_effort
from mailstore.db.database import Database
from mailstore.news.changes import note_changed

_REST: Final = 0.010  # seconds after one transaction, until the next
_NO_WAIT: Final = "SET LOCAL synchronous_commit = off"


def tell_delivered(database: Database, mailbox_ids: Collection[int]) -> None:
    """Tell watchers of committed entries; blocks for a moment. An error is logged."""
    if not mailbox_ids or not database.several:
        return
    with best_effort, database.write() as conn:
        conn.exec_driver_sql(_NO_WAIT)
        note_changed(conn, mailbox_ids)


class DeliveryNews:
    """Tells of deliveries in a thread, in the order of their commits; never blocks the caller.

    Deliveries within moments after another are told together: so the price is bounded.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: set[int] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="delivery-news")

    def tell(self, mailbox_ids: Collection[int]) -> None:
        """Tell watchers of committed entries soon. Thread-safe."""
        if not mailbox_ids or not self._database.several:
            return
        with self._lock:
            idle = not self._waiting
            self._waiting.update(mailbox_ids)
        if idle:
            self._thread.submit(self._send)

    def close(self) -> None:
        """Tell what waits; nothing may be told afterwards."""
        self._closing.set()
        self._thread.shutdown()

    def _send(self) -> None:
        with self._lock:
            found, self._waiting = self._waiting, set()
        tell_delivered(self._database, found)
        self._closing.wait(_REST)
