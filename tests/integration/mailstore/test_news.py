"""Watchers learn of changes that another process makes."""

import asyncio

from mailstore.db.database import Database
from mailstore.news.mailbox_news import MailboxNews
from tests.support.storage.news import open_mailboxes, wait_until_heard, writer
from tests.support.waiting import PATIENCE


async def test_each_change_by_another_process_is_told(
    database: Database, database_url: str
) -> None:
    boxes = await asyncio.to_thread(open_mailboxes, database, 3)
    lost: list[str] = []
    news = MailboxNews(database.url, lost.append)
    with writer(database_url) as other:
        await wait_until_heard(news)
        watchers = {box: news.watch(box) for box in boxes}
        for turn in range(20):
            box = boxes[turn % 3]
            other.start(("change", "deliver")[turn % 2], [box])
            async with asyncio.timeout(PATIENCE):
                assert await watchers[box].changed()
            await asyncio.to_thread(other.finish)
            assert not any(one.told for one in watchers.values())
        await news.close()
    assert lost == []
