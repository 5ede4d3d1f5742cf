"""UIDs are given when somebody looks, in whatever order deliveries become visible."""

import pytest
from sqlalchemy import event

from mailstore.folders import place
from mailstore.mail import view as views
from mailstore.messages.messages import store_messages
from tests.support.storage.mail_house import MailHouse


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_delivery_that_commits_late_gets_a_later_uid(house: MailHouse) -> None:
    """Its entry has a lower id than the one that was placed before it."""
    view = house.view()
    slow, quick = house.delivery(house.a), house.delivery(house.a)
    with house.database.write() as first:
        store_messages(first, [slow], now=house.now)
        with house.database.write() as second:
            store_messages(second, [quick], now=house.now)
        seen = view.look()
        assert seen.messages == 1
    inbox = view.folders()[0].id
    found = view.changes(inbox, seen.modseq)
    assert [row[0] for row in found.flags] == [2]
    messages = view.messages(inbox)
    assert [one.message_id for one in messages] == [quick.message.id, slow.message.id]
    assert messages[0].entry_id > messages[1].entry_id
    assert messages[0].modseq < messages[1].modseq


def test_much_mail_is_placed_in_batches(house: MailHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "BATCH", 3)
    monkeypatch.setattr(place.place_batch, "__defaults__", (3,))
    ids = house.deliver(8)
    view = house.view()
    inbox = view.folders()[0].id
    found = view.messages(inbox)
    assert [one.message_id for one in found] == ids
    assert [one.uid for one in found] == list(range(1, 9))
    assert len({one.modseq for one in found}) == 3


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_look_without_news_writes_nothing(house: MailHouse) -> None:
    house.deliver(3)
    view = house.view()
    inbox = view.folders()[0].id
    begun: list[str] = []
    event.listen(house.database._writer, "begin", lambda _: begun.append("write"))
    view.look()
    view.changes(inbox)
    assert begun == []
    house.deliver()
    begun.clear()
    view.look()
    assert begun == ["write"]
