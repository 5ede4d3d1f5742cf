"""The price of telling watchers of each group commit of PostgreSQL (docs/decisions/0097).

`python -m tests.bench.mailstore.notify`: so many processes commit groups of ten messages to ten
mailboxes, without and with the notification after the commit, in turns. PostgreSQL lets one
commit with a notification happen at a time, but none of them waits for the disk.
"""

import multiprocessing
import statistics
import time
from functools import partial
from threading import Barrier
from typing import Final

from mailstore.db.database import Database
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.news.deliveries import DeliveryNews
from tests.bench.mailstore.news import databases
from tests.support.clock import NOW
from tests.support.ids import make_id
from tests.support.storage.news import open_mailboxes

GROUP: Final = 10
SECONDS: Final = 2.0
ROUNDS: Final = 5


def commit(url: str, boxes: list[int], start: Barrier, *, told: bool) -> int:
    """Commit groups; returns their number."""
    database = Database(url)
    news = DeliveryNews(database)
    with database.read():
        start.wait()
    end, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        new = [
            NewMessage(
                Message(make_id(), "", "0" * 64, 10, "", "local", "s", NOW),
                (LocalDelivery(box, "a@chu.mssante.fr"),),
            )
            for box in boxes
        ]
        with database.write() as conn:
            store_messages(conn, new, now=NOW)
        if told:
            news.tell(boxes)
        number += 1
    news.close()
    database.close()
    return number


def measure(url: str, boxes: list[int], processes: int, *, told: bool) -> float:
    """Groups a second of all processes."""
    with multiprocessing.Manager() as manager, multiprocessing.Pool(processes) as pool:
        start = manager.Barrier(processes)
        work = partial(commit, url, boxes, start, told=told)
        running = [pool.apply_async(work) for _ in range(processes)]
        return sum(one.get() for one in running) / SECONDS


def main() -> None:
    """Measure with 1, 2, 4 and 8 processes; medians of the rounds."""
    with databases() as urls:
        url = urls["PostgreSQL"]
        database = Database(url)
        boxes = open_mailboxes(database, GROUP)
        database.close()
        for processes in (1, 2, 4, 8):
            pairs = [
                (
                    measure(url, boxes, processes, told=False),
                    measure(url, boxes, processes, told=True),
                )
                for _ in range(ROUNDS)
            ]
            without, told = (statistics.median(one) for one in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"{processes} processes: {without:5.0f} groups/s, told {told:5.0f} ({ratio:.1%})")


if __name__ == "__main__":
    main()
