"""Wake-up: new mail wakes the listener in other threads and processes, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from mailstore.db.database import Database
from relay.queue.wakeup import listen, notify_after_commit, notify_in_transaction
from relay.queue_admin.actions import ReleaseAction
from tests.support.db.postgresql import Server
from tests.support.delivery.queued import Letter, perform, put
from tests.support.waiting import until


def queue_mail(database: Database) -> None:
    with database.write() as connection:
        notify_in_transaction(connection)
    notify_after_commit(database.url)


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[asyncio.Event]:
    heard = asyncio.Event()
    task = asyncio.create_task(listen(database.url, heard.set))
    while not heard.is_set():  # until the listener is connected
        queue_mail(database)
        await asyncio.sleep(0.01)
    heard.clear()
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_listener_hears_of_new_mail(database: Database) -> None:
    async with listening(database) as heard:
        heard.clear()
        await asyncio.to_thread(queue_mail, database)
        async with asyncio.timeout(10):
            await heard.wait()


async def test_what_an_act_frees_wakes_who_listens(database: Database) -> None:
    put(database, Letter(held="why"))
    async with listening(database) as heard:
        heard.clear()
        assert await asyncio.to_thread(perform, database, ReleaseAction()) == ([1], 0)
        async with asyncio.timeout(10):
            await heard.wait()


def test_without_a_listener_nothing_waits(database: Database) -> None:
    for _ in range(3):
        queue_mail(database)


@pytest.mark.integration
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_one_that_does_not_listen_holds_nobody_up(database: Database) -> None:
    async with listening(database) as heard:
        # More than a pipe can hold, while the event loop is blocked.
        for _ in range(70_000):
            notify_after_commit(database.url)
        async with asyncio.timeout(10):
            await heard.wait()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_another_courier_takes_the_same_fifo(database: Database) -> None:
    async with listening(database):
        pass
    async with listening(database) as heard:
        queue_mail(database)
        async with asyncio.timeout(10):
            await heard.wait()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_what_is_undone_wakes_nobody(database: Database) -> None:
    async with listening(database) as heard:
        await asyncio.sleep(0)
        heard.clear()
        with database.connect() as connection, connection.begin() as transaction:
            notify_in_transaction(connection)
            transaction.rollback()
        with database.write() as connection:
            connection.execute(text("NOTIFY something_else"))
        await asyncio.sleep(0.1)
        assert not heard.is_set()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_broken_connection_is_made_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstore.news.notifications._FIRST_WAIT", 0.01)
    cut = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )
    async with listening(database) as heard:
        heard.clear()
        with database.write() as connection:
            assert connection.scalar(cut) == 1
        await until(heard.is_set)  # on the new connection: mail may have come in between
        heard.clear()
        queue_mail(database)
        await until(heard.is_set)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_silent_server_is_asked_and_mail_is_heard_of_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstore.news.notifications._SILENCE", 0.001)
    async with listening(database) as heard:
        for _ in range(200):
            heard.clear()
            await asyncio.to_thread(queue_mail, database)
            await until(heard.is_set)


async def test_a_server_that_hangs_is_left_and_listened_to_again(
    own_server: Server, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"_SILENCE": 0.1, "_ANSWER": 0.2, "_FIRST_WAIT": 0.05}.items():
        monkeypatch.setattr(f"mailstore.news.notifications.{name}", seconds)
    database = Database(f"{own_server.url(own_database)}?connect_timeout=2")
    listeners = (
        "SELECT pid FROM pg_stat_activity WHERE query IN ('LISTEN \"mssante_queue\"', 'SELECT 1')"
    )
    async with listening(database) as heard:
        first = await asyncio.to_thread(own_server.ask, listeners)
        with capture_logs() as logs, own_server.frozen():
            await until(lambda: bool(logs))
        await until(heard.is_set)  # on the new connection
        assert await asyncio.to_thread(own_server.ask, listeners) != first
    database.close()
