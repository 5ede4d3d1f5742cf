"""Messages and entries."""

from datetime import timedelta

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from mailstore.db.database import Database
from mailstore.errors import NotFound
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.mailboxes.model import Mailbox
from mailstore.messages.messages import (
    LocalDelivery,
    MailboxEntry,
    Message,
    NewMessage,
    StoredMessage,
    get_message,
    list_entries,
    store_messages,
)
from tests.support.clock import NOW

LATER = NOW + timedelta(microseconds=1)


def message(number: int) -> Message:
    return Message(
        id=f"{number:032x}",
        sender="" if number == 0 else f"hélène{number}@medecin.mssante.fr",
        blob=f"{number:064x}",
        size=25_000_000_000,
        trace="Received: from peer\r\n\tby us; Sun, 22 Nov 2026 10:11:12 +0000\r\n",
        peer="CN=bus.mssante.fr,OU=1750000001,O=ASIP,ST=Paris (75),C=FR",
        session="s1",
        received_at=NOW,
    )


@pytest.fixture
def boxes(database: Database) -> list[Mailbox]:
    rpps = Identifier(IdentifierKind.RPPS, "10000001916")
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        return [
            add_mailbox(conn, f"{local}@chu.mssante.fr", MailboxType.PER, rpps, now=NOW)
            for local in "ab"
        ]


def test_a_message_comes_back_as_it_was_with_its_entries(
    database: Database, boxes: list[Mailbox]
) -> None:
    a, b = boxes
    deliveries = (LocalDelivery(b.id, "B@CHU.mssante.fr"), LocalDelivery(a.id, "a@chu.mssante.fr"))
    new = [NewMessage(message(1), deliveries), NewMessage(message(0))]
    with database.write() as conn:
        store_messages(conn, new, now=LATER)
    with database.read() as conn:
        stored = get_message(conn, message(1).id)
        assert stored.message == message(1)
        assert [LocalDelivery(e.mailbox_id, e.recipient) for e in stored.entries] == list(
            deliveries
        )
        assert {e.delivered_at for e in stored.entries} == {LATER}
        assert list_entries(conn, b.id) == [stored.entries[0]]
        assert get_message(conn, message(0).id) == StoredMessage(message(0), ())
        with pytest.raises(NotFound, match="no message ffff"):
            get_message(conn, "ffff")


def test_many_messages_take_few_statements_and_keep_their_order(
    database: Database, boxes: list[Mailbox]
) -> None:
    a, b = boxes
    new = [
        NewMessage(message(i), (LocalDelivery(a.id, "a@x"), LocalDelivery(b.id, "b@x")))
        for i in range(250)
    ]
    statements = []
    with database.write() as conn:
        event.listen(
            conn, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        store_messages(conn, new, now=NOW)
    # 250 is 128 + 64 + 32 + 16 + 10; 500 is 256 + 128 + 64 + 32 + 16 + 4.
    assert len(statements) == 11

    def read(mailbox_id: int, page: int) -> list[MailboxEntry]:
        found: list[MailboxEntry] = []
        with database.read() as conn:
            while new := list_entries(
                conn, mailbox_id, after=found[-1].id if found else 0, limit=page
            ):
                assert len(new) <= page
                found += new
        return found

    for box in boxes:
        entries = read(box.id, 100)
        assert [entry.message for entry in entries] == [message(i) for i in range(250)]
        assert entries == read(box.id, 7)


def test_nothing_to_store_is_no_statement(database: Database) -> None:
    with database.read() as conn:
        statements: list[str] = []

        @event.listens_for(conn, "before_cursor_execute")
        def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement)

        conn.execute(select(1))
        store_messages(conn, [], now=NOW)
    assert statements == ["SELECT 1"]


def test_a_group_is_stored_as_a_whole_or_not_at_all(
    database: Database, boxes: list[Mailbox]
) -> None:
    good = NewMessage(message(1), (LocalDelivery(boxes[0].id, "a@x"),))
    for bad in (NewMessage(message(1)), NewMessage(message(2), (LocalDelivery(99, "c@x"),))):
        with pytest.raises(IntegrityError), database.write() as conn:
            store_messages(conn, [good, bad], now=NOW)
    with database.read() as conn:
        assert list_entries(conn, boxes[0].id) == []
        with pytest.raises(NotFound):
            get_message(conn, message(1).id)
