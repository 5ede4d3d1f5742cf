"""Erasure of deleted mailboxes, in batches (DOMAIN §9.39, RGPD)."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from mailstore.db.database import Database
from mailstore.db.schema import entries, messages
from mailstore.errors import InvalidState
from mailstore.mailboxes import erasure
from mailstore.mailboxes.aliases import add_alias, aliases_of
from mailstore.mailboxes.attributes import Attribute
from mailstore.mailboxes.erasure import due_mailboxes, erase_batch
from mailstore.mailboxes.holders import add_holders, holders_of
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, restore_mailbox
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.queue.enqueue import enqueue
from relay.queue.model import QueueItem
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
CO_HOLDER = Identifier(IdentifierKind.RPPS, "10000005479")
BOX, OTHER = "cabinet@a.mssante.fr", "autre@a.mssante.fr"
SENDER = "expediteur.secret@b.mssante.fr"
GRACE = timedelta(days=30)
DUE = NOW + GRACE


def letter(number: int, *mailboxes: int) -> NewMessage:
    name = f"{number:032x}"
    message = Message(name, SENDER, f"{number:064x}", 1, "", "local", "s", NOW)
    return NewMessage(message, tuple(LocalDelivery(one, BOX) for one in mailboxes))


@pytest.fixture
def boxes(database: Database) -> tuple[int, int]:
    """A deleted mailbox with five messages, one of which another mailbox holds too, and one is
    in the queue.
    """
    with database.write() as conn:
        add_domain(conn, "a.mssante.fr", now=NOW)
        box = add_mailbox(
            conn,
            BOX,
            MailboxType.CAB,
            RPPS,
            attributes={Attribute.DESCRIPTION: "Cabinet Secret", Attribute.RANK: 1},
            now=NOW,
        )
        other = add_mailbox(conn, OTHER, MailboxType.PER, RPPS, now=NOW)
        add_holders(conn, box, [CO_HOLDER], now=NOW)
        add_alias(conn, BOX, "ancien@a.mssante.fr", ends_at=None, now=NOW)
        new = [letter(1, box.id, other.id), *(letter(n, box.id) for n in range(2, 6))]
        store_messages(conn, [*new, letter(9, other.id)], now=NOW)
        enqueue(
            conn,
            [QueueItem(f"{5:032x}", "b.mssante.fr", ("x@b.mssante.fr",), False, NOW, SENDER)],
        )
        delete_mailbox(conn, BOX, reason="départ", grace=GRACE, now=NOW)
    return box.id, other.id


def held(conn: Connection) -> tuple[list[int], list[int]]:
    """Numbers of the messages of all entries, and of all messages."""
    of = [int(one, 16) for one in conn.scalars(select(entries.c.message_id).order_by("message_id"))]
    return of, [int(one, 16) for one in conn.scalars(select(messages.c.id).order_by("id"))]


@pytest.mark.usefixtures("boxes")
def test_before_its_time_nothing_is_erased(database: Database, boxes: tuple[int, int]) -> None:
    early = DUE - timedelta(microseconds=1)
    with database.write() as conn:
        assert due_mailboxes(conn, early) == []
        assert erase_batch(conn, boxes[0], early) is None
        assert erase_batch(conn, boxes[1], DUE) is None  # not deleted
        restore_mailbox(conn, BOX, reason="erreur", now=early)
        assert due_mailboxes(conn, DUE) == []
        assert erase_batch(conn, boxes[0], DUE) is None
        assert get_mailbox(conn, BOX).description == "Cabinet Secret"


def test_content_goes_by_batches_and_the_trace_stays(
    database: Database, boxes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BATCH", 3)
    with database.write() as conn:
        (due,) = due_mailboxes(conn, DUE)
        assert (due.id, due.address, due.tenant_id) == (boxes[0], BOX, 1)
        first = erase_batch(conn, due.id, DUE)
    assert first is not None
    assert (first.entries, first.messages, first.done) == (3, 2, False)
    # Half erased, as after a crash: too late to restore, by any clock.
    with pytest.raises(InvalidState, match="too late"), database.write() as conn:
        restore_mailbox(conn, BOX, reason="x", now=NOW)
    with database.write() as conn:
        assert [one.id for one in due_mailboxes(conn, DUE)] == [due.id]
        second = erase_batch(conn, due.id, DUE)
    assert second is not None
    assert (second.entries, second.messages, second.done) == (2, 1, True)
    with database.write() as conn:
        assert due_mailboxes(conn, DUE) == []
        assert erase_batch(conn, due.id, DUE) is None
        # The other mailbox, and what waits in the queue, lack nothing.
        assert held(conn) == ([1, 9], [1, 5, 9])
        box = get_mailbox(conn, BOX)
        assert (box.status, box.identifier, box.erased_at) == ("deleted", RPPS, DUE)
        assert (box.erase_after, box.description, box.rank) == (None, None, None)
        assert holders_of(conn, [box.id]) == {}
        (alias,) = aliases_of(conn, [box.id])[box.id]
        assert alias.ends_at == DUE
        with pytest.raises(InvalidState, match="too late"):
            restore_mailbox(conn, BOX, reason="x", now=NOW)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_nothing_erased_can_be_read_in_the_file(
    database: Database, boxes: tuple[int, int], database_url: str
) -> None:
    """SQLite leaves deleted rows on free pages, unless it is told to overwrite them."""
    with database.write() as conn:
        new = [letter(n, boxes[0]) for n in range(100, 400)]
        told = [replace(one, message=replace(one.message, trace="contenu secret")) for one in new]
        store_messages(conn, told, now=NOW)
    path = Path(database_url.removeprefix("sqlite:///"))
    with database.write() as conn:
        done = erase_batch(conn, boxes[0], DUE)
        assert done is not None
        assert done.done
        assert conn.scalar(select(func.count()).select_from(messages)) == 3
    database.close()  # which empties the WAL into the file
    octets = path.read_bytes()
    assert b"Cabinet Secret" not in octets
    assert b"contenu secret" not in octets
