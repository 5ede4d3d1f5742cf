"""Late mail that somebody has looked at leaves its folder; an erased mailbox leaves no row."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailstore.db.schema import metadata
from mailstore.errors import NotFound
from mailstore.folders.flags import FlagMode
from mailstore.folders.late import late_entries, remove_late
from mailstore.mailboxes.erasure import erase_batch
from mailstore.mailboxes.lifecycle import delete_mailbox
from tests.support.storage.mail_house import OCTETS, MailHouse

GRACE = timedelta(days=30)


@pytest.mark.parametrize("looked", [False, True])
def test_late_mail_leaves_nothing(house: MailHouse, looked: bool) -> None:
    house.deliver()
    with house.database.write() as conn:
        delete_mailbox(conn, "a@a.mssante.fr", reason="x", grace=GRACE, now=house.now)
    house.now += timedelta(seconds=1)
    (name,) = house.deliver()
    view = house.view()
    if looked:
        assert view.look().messages == 2
    with house.database.write() as conn:
        found = late_entries(conn, house.now - GRACE, 9)
        assert name in [one.entry.message.id for one in found]
        late = next(one.entry for one in found if one.entry.message.id == name)
        assert remove_late(conn, late)
        assert not remove_late(conn, late)
    assert (view.look().messages, view.look().octets) == (1, OCTETS)
    assert view.find([name]) == []


def test_an_erased_mailbox_leaves_no_row_but_its_own(house: MailHouse) -> None:
    house.deliver(3)
    house.deliver(1, house.b)
    view, other = house.view(account_id=7), house.view(house.b)
    inbox = view.folders()[0].id
    other.look()
    view.set_private_seen(private=True)
    view.set_flags(inbox, [1, 2], FlagMode.ADD, ["\\Seen", "label"])
    view.expunge(inbox, [1])
    with house.database.write() as conn:
        delete_mailbox(conn, "a@a.mssante.fr", reason="x", grace=GRACE, now=house.now)
        done = erase_batch(conn, house.a, house.now + GRACE)
    assert done is not None
    assert done.done
    with house.database.read() as conn:
        left = {
            table.name: conn.scalar(
                select(func.count()).select_from(table).where(table.c.mailbox_id == house.a)
            )
            for table in metadata.tables.values()
            if "mailbox_id" in table.c
        }
    assert {name for name, rows in left.items() if rows} <= {"mailbox_news"}
    for act in (view.look, house.view):
        with pytest.raises(NotFound):
            act()
    assert other.look().messages == 1
