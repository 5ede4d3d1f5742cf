"""Sessions, erasure and late mail wait for each other, and never in a circle."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, text

from mailstore.db.schema import messages
from mailstore.folders import copy_move
from mailstore.folders.late import late_entries, remove_late
from mailstore.folders.lock import lock_mailbox
from mailstore.folders.rows import rows_of
from mailstore.folders.tree import Role
from mailstore.mailboxes.erasure import erase_batch
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.messages.messages import store_messages
from tests.support.storage.mail_house import MailHouse, house

__all__ = ["house"]

GRACE = timedelta(days=30)
_WAITING = text(
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


def await_waiting(house: MailHouse, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with house.database.read() as conn:
            if (conn.scalar(_WAITING) or 0) >= count:
                return
    raise AssertionError("nothing waits for a lock")


def delete_a(house: MailHouse) -> None:
    with house.database.write() as conn:
        delete_mailbox(conn, "a@a.mssante.fr", reason="x", grace=GRACE, now=house.now)


def beside_a_copy(house: MailHouse, act: Callable[[], int]) -> int:
    """Result of an act that begins while a session holds the mailbox, and then copies a message."""
    found = {one.role: one.id for one in house.view().folders()}
    with ThreadPoolExecutor(1) as pool:
        with house.database.write() as conn:
            lock = lock_mailbox(conn, house.a)
            rows = rows_of(lock, found[Role.INBOX], [1])
            result = pool.submit(act)
            await_waiting(house, 1)
            copy_move.copy(lock, rows, found[Role.ARCHIVE], now=house.now)
        return result.result(30)


def test_erasure_beside_a_session_erases_what_it_adds(house: MailHouse) -> None:
    house.deliver(2)
    delete_a(house)

    def erase() -> int:
        with house.database.write() as conn:
            done = erase_batch(conn, house.a, house.now + GRACE)
        assert done is not None
        return done.entries

    assert beside_a_copy(house, erase) == 3


def test_erasure_waits_for_a_delivery_in_progress(house: MailHouse) -> None:
    """Its entry would stay for good in a mailbox that is erased."""
    house.deliver(2)
    delete_a(house)

    def erase() -> int:
        with house.database.write() as conn:
            done = erase_batch(conn, house.a, house.now + GRACE)
        assert done is not None
        return done.entries

    with ThreadPoolExecutor(1) as pool:
        with house.database.write() as conn:
            store_messages(conn, [house.delivery(house.a)], now=house.now)
            result = pool.submit(erase)
            await_waiting(house, 1)
        assert result.result(30) == 3


def test_late_mail_leaves_beside_a_session(house: MailHouse) -> None:
    house.deliver()
    delete_a(house)
    house.now += timedelta(seconds=1)
    (name,) = house.deliver()

    def remove() -> int:
        with house.database.write() as conn:
            found = late_entries(conn, house.now - GRACE, 9)
            late = next(one.entry for one in found if one.entry.message.id == name)
            return int(remove_late(conn, late))

    assert beside_a_copy(house, remove) == 1


def test_a_copy_locks_messages_in_the_order_of_those_who_drop_them(house: MailHouse) -> None:
    """Their order is by id; UIDs are in the opposite order here."""
    new = [house.delivery(house.a, house.b) for _ in range(5)]
    with house.database.write() as conn:
        store_messages(conn, new[::-1], now=house.now)
    view = house.view()
    found = {one.role: one.id for one in view.folders()}
    with ThreadPoolExecutor(1) as pool:
        with house.database.write() as conn:
            lock_message(conn, new[0].message.id)
            copied = pool.submit(view.copy, found[Role.INBOX], range(1, 6), found[Role.ARCHIVE])
            await_waiting(house, 1)
            lock_message(conn, new[-1].message.id)
        assert len(copied.result(30).pairs) == 5


def lock_message(conn: Connection, message_id: str) -> None:
    """As `mailstore.blobs.references` does before it drops one."""
    conn.execute(select(messages.c.id).where(messages.c.id == message_id).with_for_update())
