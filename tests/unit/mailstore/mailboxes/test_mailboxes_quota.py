"""Quotas of mailboxes, and sizes of their messages."""

import pytest
from sqlalchemy import Connection, text

from mailstore.db.database import Database
from mailstore.errors import NotFound
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.mailboxes import (
    add_domain,
    add_mailbox,
    get_mailbox,
    list_mailboxes,
    resolve,
    set_quota,
)
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.mailboxes.usage import used_by_mailbox, used_octets
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
LARGE = 2**40


def add(conn: Connection, address: str, quota: int | None = None) -> Mailbox:
    return add_mailbox(conn, address, MailboxType.PER, RPPS, quota=quota, now=NOW)


def message(number: int, size: int) -> Message:
    name = f"{number:032x}"
    return Message(name, "", f"{number:064x}", size, "", "local", "s", NOW)


@pytest.fixture
def boxes(database: Database) -> tuple[Mailbox, Mailbox, Mailbox]:
    """A mailbox with a quota and two without, the last on another domain."""
    with database.write() as conn:
        for domain in ("a.mssante.fr", "b.mssante.fr"):
            add_domain(conn, domain, now=NOW)
        one = add(conn, "one@a.mssante.fr", LARGE)
        two, three = add(conn, "two@a.mssante.fr"), add(conn, "three@b.mssante.fr")
        new = [
            NewMessage(
                message(1, LARGE - 1), (LocalDelivery(one.id, ""), LocalDelivery(two.id, ""))
            ),
            NewMessage(message(2, 3), (LocalDelivery(two.id, ""), LocalDelivery(two.id, ""))),
            NewMessage(message(3, 50)),
        ]
        store_messages(conn, new, now=NOW)
    return one, two, three


def test_a_quota_is_given_changed_and_taken_away(
    database: Database, boxes: tuple[Mailbox, ...]
) -> None:
    assert [box.quota for box in boxes] == [LARGE, None, None]
    address = "TWO@a.mssante.fr"
    with database.write() as conn:
        for quota in (0, 1, LARGE, None, 5):
            changed = set_quota(conn, address, quota)
            assert changed == get_mailbox(conn, address) == resolve(conn, [address])[address]
            assert (changed.id, changed.quota) == (boxes[1].id, quota)
        assert [box.quota for box in list_mailboxes(conn)] == [LARGE, None, 5]
        with pytest.raises(NotFound, match="no mailbox x@a"):
            set_quota(conn, "x@a.mssante.fr", 1)


def test_a_quota_outlives_changes_of_state(database: Database, boxes: tuple[Mailbox, ...]) -> None:
    with database.write() as conn:
        for state in MailboxState:
            assert set_state(conn, boxes[0].address, state).quota == LARGE


def test_what_mailboxes_hold(database: Database, boxes: tuple[Mailbox, ...]) -> None:
    one, two, three = boxes
    with database.read() as conn:
        assert [used_octets(conn, box.id).octets for box in boxes] == [LARGE - 1, LARGE + 5, 0]
        found = {one.id: LARGE - 1, two.id: LARGE + 5}
        assert used_by_mailbox(conn, [box.id for box in boxes]) == found
        assert used_by_mailbox(conn, [three.id]) == used_by_mailbox(conn, []) == {}
        assert used_octets(conn, three.id + 1).octets == 0


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_what_one_mailbox_holds_is_found_by_indexes(database: Database) -> None:
    """The cost of the sum depends only on the mailbox, not on the store."""
    statement = (
        "EXPLAIN QUERY PLAN SELECT sum(messages.size) FROM entries"
        " JOIN messages ON messages.id = entries.message_id WHERE entries.mailbox_id = 1"
    )
    with database.read() as conn:
        plan = [row.detail for row in conn.execute(text(statement))]
    assert len(plan) == 2
    assert all(step.startswith("SEARCH ") and " USING " in step for step in plan), plan
