"""Word of deliveries after their commit."""

from mailstore.db.database import Database
from mailstore.news.deliveries import DeliveryNews
from tests.support.storage.news import deliver, open_mailboxes, told_mailboxes


def test_all_that_was_told_is_heard_after_closing(database: Database) -> None:
    boxes = open_mailboxes(database, 3)
    news = DeliveryNews(database)
    with told_mailboxes(database) as found:
        for box in boxes:
            if not database.several:  # its watchers find the entry itself
                deliver(database, [box])
            news.tell([box])
        news.close()
    assert found == set(boxes)


def test_an_error_is_logged_and_the_next_word_is_given(database: Database) -> None:
    (box,) = open_mailboxes(database, 1)
    news = DeliveryNews(database)
    with told_mailboxes(database) as found:
        news.tell([None])  # type: ignore[list-item]
        news.tell([box])
        deliver(database, [box])
        news.close()
    assert found == {box}
