"""Messages in the database by address, peer and time, on both databases."""

from datetime import timedelta
from typing import Any

import pytest

from foundation.ids import new_id
from mailstore.db.database import Database
from mailstore.mailboxes.aliases import add_alias
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from relay.queue_admin.message_search import MessageTerms, newest_messages
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import CLAIRE, RPPS

MINUTE = timedelta(minutes=1)
DN = "CN=smtp.b.mssante.fr, O=Operator B"


def key(number: int) -> str:
    return new_id(NOW + number * MINUTE, bytes(10))


@pytest.fixture
def letters(database: Database) -> Database:
    """0: b to Claire; 1: Claire to b, queued; 2: b to an alias; 3: c to Claire; 4: a report."""
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=NOW)
        box = add_mailbox(conn, CLAIRE, MailboxType.PER, RPPS, now=NOW)
        add_alias(conn, CLAIRE, "alias@a.mssante.fr", ends_at=None, now=NOW)
        rows = (
            ("Dr@b.mssante.fr", DN, CLAIRE.title()),
            (CLAIRE, "local", None),
            ("x@b.mssante.fr", DN, "alias@a.mssante.fr"),
            ("y@c.mssante.fr", "CN=smtp.c", CLAIRE),
            ("", "local", CLAIRE),
        )
        for number, (sender, peer, to) in enumerate(rows):
            at = NOW + number * MINUTE
            message = Message(key(number), sender, "0" * 64, 10, "", peer, "s", at)
            local = () if to is None else (LocalDelivery(box.id, to),)
            store_messages(conn, [NewMessage(message, local)], now=at)
        queued = ("dr@b.mssante.fr", "z@b.mssante.fr")
        enqueue(conn, [QueueItem(key(1), "b.mssante.fr", queued, False, NOW)])
    return database


@pytest.mark.parametrize(
    ("terms", "numbers"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"address": CLAIRE}, [4, 3, 2, 1, 0]),  # also by an alias
        ({"address": "alias@a.mssante.fr"}, [2]),
        ({"address": "dr@b.mssante.fr"}, [1, 0]),
        ({"address": "nobody@b.mssante.fr"}, []),
        ({"peer": "b.mssante.fr"}, [2, 1, 0]),
        ({"peer": "operator b"}, [2, 0]),
        ({"peer": "c.mssante.fr"}, [3]),
        ({"peer": "%"}, []),
        ({"peer": "b.mssante.fr", "address": "x@b.mssante.fr"}, [2]),
        ({"before": key(3)}, [2, 1, 0]),
        ({"since": NOW + 3 * MINUTE}, [4, 3]),
        ({"until": NOW + 3 * MINUTE}, [2, 1, 0]),
    ],
)
@pytest.mark.parametrize("batch", [2, 5000])
def test_the_newest_that_fit(
    letters: Database, terms: dict[str, Any], numbers: list[int], batch: int
) -> None:
    wanted = MessageTerms(**{"since": NOW, "until": NOW + 9 * MINUTE, **terms})
    found = list(newest_messages(letters, wanted, batch=batch))
    assert [one.id for one in found] == [key(number) for number in numbers]


def test_recipients_are_those_of_mailboxes_and_queue(letters: Database) -> None:
    wanted = MessageTerms(NOW, NOW + 9 * MINUTE, address=CLAIRE, before=key(2))
    sent, got = newest_messages(letters, wanted)
    assert (sent.sender, sent.recipients) == (CLAIRE, ("dr@b.mssante.fr", "z@b.mssante.fr"))
    assert (got.recipients, got.peer, got.size) == ((CLAIRE.title(),), DN, 10)
