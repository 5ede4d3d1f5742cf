"""A message in the database, on both databases."""

from datetime import timedelta

import pytest

from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.queue.attempt_result import attempt_result
from relay.queue.enqueue import enqueue
from relay.queue.leases import claim
from relay.queue.model import QueueItem
from relay.queue.retry import RetryPolicy
from relay.queue.settlement import settle
from relay.queue_admin.message_lookup import (
    MessageHolder,
    QueuedRecipient,
    deliveries_of,
    holders_of,
)
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW

MINUTE = timedelta(minutes=1)
ID, OTHER = f"{1:032x}", f"{2:032x}"
RECIPIENTS = ("x@b.mssante.fr", "y@b.mssante.fr", "z@b.mssante.fr")


def message(key: str) -> Message:
    return Message(key, "claire@a.mssante.fr", "0" * 64, 10, "", "local", "s", NOW)


@pytest.fixture
def filled(database: Database) -> Database:
    """Two messages, each in a mailbox under two recipients and queued for two domains."""
    with database.write() as connection:
        add_domain(connection, "a.mssante.fr", now=NOW)
        box = add_mailbox(
            connection,
            "Claire@a.mssante.fr",
            MailboxType.PER,
            Identifier(IdentifierKind.RPPS, "10000001916"),
            now=NOW,
        )
        copies = (
            LocalDelivery(box.id, "CLAIRE@a.mssante.fr"),
            LocalDelivery(box.id, "postmaster@a.mssante.fr"),
        )
        for key in (ID, OTHER):
            store_messages(connection, [NewMessage(message(key), copies)], now=NOW)
            for domain in ("b.mssante.fr", "c.mssante.fr"):
                enqueue(connection, [QueueItem(key, domain, RECIPIENTS, False, NOW)])
    return database


def test_the_mailboxes_that_hold_it(filled: Database) -> None:
    with filled.read() as connection:
        assert holders_of(connection, ID) == [
            MessageHolder("claire@a.mssante.fr", "CLAIRE@a.mssante.fr", NOW),
            MessageHolder("claire@a.mssante.fr", "postmaster@a.mssante.fr", NOW),
        ]
        assert holders_of(connection, "f" * 32) == []


def test_its_deliveries_with_what_peers_said(filled: Database) -> None:
    with filled.write() as connection:
        taken = claim(
            connection, owner="n:1", now=NOW, lease=MINUTE, limit=9, wait=lambda _: MINUTE
        )
        (mine,) = [one for one in taken if (one.message_id, one.domain) == (ID, "b.mssante.fr")]
        outcomes = {
            RECIPIENTS[0]: Outcome(State.DELIVERED, "250 2.1.5 ok"),
            RECIPIENTS[1]: Outcome(State.FAILED, "550 5.1.1 unknown"),
        }
        said, policy = "450 later", RetryPolicy(life=5 * MINUTE)
        settle(
            connection,
            attempt_result(mine, outcomes, error=said, reason=None, now=NOW, policy=policy),
        )
    with filled.read() as connection:
        first, second = deliveries_of(connection, ID)
        assert deliveries_of(connection, "f" * 32) == []
    assert (first.id, first.domain, first.state) == (mine.id, "b.mssante.fr", "waiting")
    assert (first.attempts, first.due, first.created_at) == (1, NOW + MINUTE, NOW)
    assert first.last_error == "450 later"
    assert first.recipients == (
        QueuedRecipient(RECIPIENTS[0], "delivered", "250 2.1.5 ok"),
        QueuedRecipient(RECIPIENTS[1], "failed", "550 5.1.1 unknown"),
        QueuedRecipient(RECIPIENTS[2], "waiting", ""),
    )
    assert (second.domain, second.last_error) == ("c.mssante.fr", "")
    assert [one.state for one in second.recipients] == ["waiting"] * 3
