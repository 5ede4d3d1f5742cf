"""News of a process, on both databases."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from mailstore.db.database import Database
from mailstore.news import mailbox_news
from mailstore.news.changes import CHANNEL
from mailstore.news.mailbox_news import MailboxNews
from mailstore.news.watchers import Watcher
from tests.support.storage.news import change, deliver, open_mailboxes, wait_until_heard
from tests.support.waiting import PATIENCE, until

only_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
only_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
async def news(database: Database, lost: list[str]) -> AsyncIterator[MailboxNews]:
    made = MailboxNews(database.url, lost.append)
    yield made
    await made.close()


async def test_a_watcher_learns_of_changes_and_deliveries(
    database: Database, news: MailboxNews
) -> None:
    first, second = await asyncio.to_thread(open_mailboxes, database, 2)
    await wait_until_heard(news)
    one, other = news.watch(first), news.watch(second)
    for act in (change, deliver):
        await asyncio.to_thread(act, database, [first])
        async with asyncio.timeout(PATIENCE):
            assert await one.changed()
    assert not other.told


async def test_a_change_while_the_news_begin_is_told(database: Database, news: MailboxNews) -> None:
    watcher = news.watch(7)
    change(database, [7])  # the loop has not run: nothing listens yet
    async with asyncio.timeout(PATIENCE):
        assert await watcher.changed()


async def test_news_begin_again_after_the_last_watcher_left(
    database: Database, news: MailboxNews
) -> None:
    for _ in range(3):
        watcher = news.watch(7)
        change(database, [7])
        async with asyncio.timeout(PATIENCE):
            assert await watcher.changed()
        watcher.close()
        await asyncio.sleep(0)


async def test_many_mailboxes_change_at_once(database: Database, news: MailboxNews) -> None:
    await wait_until_heard(news)
    ids = range(10**18, 10**18 + 1_000)  # of three notifications
    watchers = [news.watch(number) for number in ids]
    await asyncio.to_thread(change, database, ids)
    async with asyncio.timeout(PATIENCE):
        assert all([await one.changed() for one in watchers])


async def test_whatever_the_order_a_change_after_watching_is_told(
    database: Database, news: MailboxNews
) -> None:
    boxes = await asyncio.to_thread(open_mailboxes, database, 3)
    chance = random.Random(17)
    watchers: list[Watcher] = []
    owed: set[Watcher] = set()
    for _ in range(200):
        match chance.choice(("watch", "change", "deliver", "look", "close", "rest")):
            case "watch":
                watchers.append(news.watch(chance.choice(boxes)))
            case "rest":
                await asyncio.sleep(0)
            case ("change" | "deliver") as act:
                ids = set(chance.choices(boxes, k=2))
                before = {one for one in watchers if one.mailbox_id in ids}
                do = change if act == "change" else deliver
                await asyncio.to_thread(do, database, ids)
                owed |= before
            case "look" if watchers:
                one = chance.choice(watchers)
                if one.told:
                    assert await one.changed()
                    owed.discard(one)
            case "close" if watchers:
                one = chance.choice(watchers)
                one.close()
                watchers.remove(one)
                owed.discard(one)
    async with asyncio.timeout(PATIENCE):
        assert all([await one.changed() for one in owed])


async def test_closing_ends_all_watchers_and_later_ones(news: MailboxNews, lost: list[str]) -> None:
    watcher = news.watch(1)
    waiting = asyncio.create_task(_count(watcher))
    await asyncio.sleep(0)
    await news.close()
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert news.watch(1).closed
    assert lost == []


async def _count(watcher: Watcher) -> int:
    return len([None async for _ in watcher])


@only_postgresql
async def test_a_cut_connection_tells_all_once_and_hears_again(
    database: Database, news: MailboxNews, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstore.news.notifications._FIRST_WAIT", 0.01)
    await wait_until_heard(news)
    watcher = news.watch(1)
    cut = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )
    with database.write() as conn:
        assert conn.scalar(cut) == 1
    async with asyncio.timeout(PATIENCE):
        assert await watcher.changed()  # something may have been missed
    assert len(lost) == 1
    assert not watcher.told
    change(database, [1])
    async with asyncio.timeout(PATIENCE):
        assert await watcher.changed()


@only_postgresql
async def test_a_notification_of_others_tells_all(database: Database, news: MailboxNews) -> None:
    await wait_until_heard(news)
    watcher = news.watch(1)
    with database.write() as conn:
        conn.execute(text(f"NOTIFY {CHANNEL}, 'something else'"))
    async with asyncio.timeout(PATIENCE):
        assert await watcher.changed()


@only_postgresql
async def test_the_listener_sends_no_statement_for_a_change(
    database: Database, news: MailboxNews
) -> None:
    await wait_until_heard(news)
    last = text(
        "SELECT query, query_start FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )
    with database.read() as conn:
        before = conn.execute(last).one()
    await _change_ten_thousand(database, news)
    with database.read() as conn:
        assert conn.execute(last).one() == before


class Counted(sqlite3.Connection):
    """Counts statements, and tells when it is closed."""

    statements: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.statements = []
        self.closed = False
        self.set_trace_callback(self.statements.append)

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """The connections of the news."""
    made: list[Counted] = []
    connect = sqlite3.connect

    def counting(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        if kwargs.get("timeout") != 0:
            other: sqlite3.Connection = connect(*args, **kwargs)
            return other
        connection = connect(*args, factory=Counted, **kwargs)
        assert isinstance(connection, Counted)
        made.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counting)
    return made


@only_sqlite
async def test_ten_thousand_watchers_take_few_queries_for_a_wave(
    counted: list[Counted], database: Database, news: MailboxNews
) -> None:
    with news.watch(0) as first:
        assert await first.changed()
        (connection,) = counted
        before = _queries(connection)
        for wave in range(1, 4):
            await _change_ten_thousand(database, news)
            # Twice if the database writes its log back meanwhile, which looks like a commit.
            assert 2 * wave <= _queries(connection) - before <= 4 * wave


@only_sqlite
async def test_without_watchers_nothing_is_asked(counted: list[Counted], news: MailboxNews) -> None:
    for number in range(1, 3):
        await wait_until_heard(news)
        assert len(counted) == number
        await until(lambda: counted[-1].closed)


@only_sqlite
async def test_a_database_that_comes_late_tells_all(
    database: Database, tmp_path: Path, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_news, "_FIRST_WAIT", 0.01)
    path = tmp_path / "late.db"
    news = MailboxNews(make_url(f"sqlite:///{path}"), lost.append)
    watcher = news.watch(1)
    await until(lambda: len(lost) > 1)
    assert not watcher.told
    shutil.copyfile(str(database.url.database), path)
    async with asyncio.timeout(PATIENCE):
        assert await watcher.changed()
    await news.close()


def _queries(connection: Counted) -> int:
    return sum(not one.startswith("PRAGMA") for one in connection.statements)


async def _change_ten_thousand(database: Database, news: MailboxNews) -> None:
    watchers = [news.watch(number) for number in range(1, 10_001)]
    await asyncio.to_thread(change, database, range(1, 10_001))
    async with asyncio.timeout(PATIENCE):
        for one in watchers:
            assert await one.changed()
            one.close()
