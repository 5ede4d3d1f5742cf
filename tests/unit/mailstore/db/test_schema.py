"""Rows that the tables themselves refuse, from any writer."""

from typing import Any

import pytest
from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mailstore.db.database import Database
from mailstore.db.schema import domains, entries, mailboxes, messages
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.mailboxes.states import MailboxState
from tests.support.clock import NOW

DOMAIN: dict[str, Any] = {"name": "other.mssante.fr", "created_at": NOW}
MAILBOX: dict[str, Any] = {
    "local_part": "b",
    "address": "b@chu.mssante.fr",
    "type": "ORG",
    "state": "active",
    "identifier_kind": "FINESS",
    "identifier_value": "2A0000154",
    "created_at": NOW,
}
MESSAGE: dict[str, Any] = {
    "id": "0" * 32,
    "sender": "",
    "blob": "a" * 64,
    "size": 0,
    "trace": "",
    "peer": "local",
    "session": "s",
    "received_at": NOW,
}
ENTRY: dict[str, Any] = {"recipient": "a@chu.mssante.fr", "delivered_at": NOW}


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        rpps = Identifier(IdentifierKind.RPPS, "10000001916")
        add_mailbox(conn, "a@chu.mssante.fr", MailboxType.PER, rpps, now=NOW)
        conn.execute(insert(messages), [MESSAGE])
    return database


def complete(conn: Connection, table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Add the references of a valid row of the table, unless the row has them."""
    references = {
        mailboxes: {"domain_id": conn.scalar(select(domains.c.id))},
        entries: {"mailbox_id": conn.scalar(select(mailboxes.c.id)), "message_id": MESSAGE["id"]},
    }
    return {**references.get(table, {}), **row}


VALID = [
    (domains, DOMAIN),
    (mailboxes, MAILBOX),
    (messages, {**MESSAGE, "id": "1" * 32}),
    (entries, ENTRY),
]


@pytest.mark.parametrize(("table", "row"), VALID, ids=lambda value: getattr(value, "name", ""))
def test_the_rows_that_the_next_test_spoils_are_accepted(
    filled: Database, table: Table, row: dict[str, Any]
) -> None:
    with filled.write() as conn:
        given = complete(conn, table, row)
        conn.execute(insert(table), [given])
    with filled.read() as conn:
        rows = conn.execute(select(table)).mappings().all()
    assert given in [{name: stored[name] for name in given} for stored in rows]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (domains, "name", "Upper.mssante.fr"),
        (domains, "name", "chu.mssante.fr"),
        (domains, "name", None),
        (mailboxes, "type", "XYZ"),
        (mailboxes, "type", "per"),
        (mailboxes, "state", "deleted"),
        (mailboxes, "identifier_kind", "NIR"),
        (mailboxes, "address", "a@chu.mssante.fr"),
        (mailboxes, "domain_id", 99),
        (mailboxes, "quota", -1),
        (messages, "id", "0" * 32),
        (messages, "id", "short"),
        (messages, "blob", "a" * 63),
        (messages, "size", -1),
        (messages, "received_at", None),
        (entries, "mailbox_id", 99),
        (entries, "message_id", "2" * 32),
    ],
)
def test_impossible_rows_are_refused(
    filled: Database, table: Table, column: str, value: object
) -> None:
    row = dict(VALID[[valid for valid, _ in VALID].index(table)][1])
    with pytest.raises(IntegrityError), filled.write() as conn:
        conn.execute(insert(table), [complete(conn, table, row) | {column: value}])


@pytest.mark.parametrize(
    ("column", "value"),
    [("address", "c@chu.mssante.fr"), ("type", "ORG"), ("local_part", "c")],
)
def test_address_and_type_are_immutable(filled: Database, column: str, value: str) -> None:
    # DOMAIN §9.33
    with pytest.raises(IntegrityError, match="never change"), filled.write() as conn:
        conn.execute(update(mailboxes).values({column: value}))


def test_the_rest_of_a_mailbox_may_change(filled: Database) -> None:
    with filled.write() as conn:
        same = {"address": mailboxes.c.address, "type": "PER"}
        change = {"state": MailboxState.SUSPENDED.value, "description": "leave", "quota": 1}
        assert conn.execute(update(mailboxes).values(same | change)).rowcount == 1


def test_what_is_referred_to_cannot_be_deleted(filled: Database) -> None:
    with filled.write() as conn:
        conn.execute(insert(entries), [complete(conn, entries, ENTRY)])
    for table in (domains, mailboxes, messages):
        with pytest.raises(IntegrityError), filled.write() as conn:
            conn.execute(delete(table))


def test_the_number_of_a_deleted_entry_is_not_given_again(filled: Database) -> None:
    numbers: list[int] = []
    for _ in range(2):
        with filled.write() as conn:
            conn.execute(insert(entries), [complete(conn, entries, ENTRY)])
            numbers += conn.scalars(select(entries.c.id))
            conn.execute(delete(entries))
    assert numbers[1] > numbers[0]
