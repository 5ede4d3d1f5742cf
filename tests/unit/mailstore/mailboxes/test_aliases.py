"""Aliases of mailboxes: unique among all addresses, with an end (DOMAIN §9.34)."""

from datetime import timedelta
from threading import Thread

import pytest

from mailstore.accounts.tenants import add_tenant, get_tenant, give_domain
from mailstore.db.database import Database
from mailstore.errors import Conflict, InvalidAddress, InvalidAttribute, InvalidState, NotFound
from mailstore.mailboxes.aliases import add_alias, aliases_of, end_alias
from mailstore.mailboxes.changes import change_number
from mailstore.mailboxes.domain_removal import remove_domain
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox, resolve
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.recipients import find_recipients
from mailstore.mailboxes.states import MailboxState
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
BOX, OTHER = "a@chu.mssante.fr", "b@chu.mssante.fr"
ALIAS = "Ancien.Nom@cabinet.mssante.fr"
END = NOW + timedelta(days=365)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def box(database: Database) -> Mailbox:
    with database.write() as conn:
        for domain in ("chu.mssante.fr", "cabinet.mssante.fr"):
            add_domain(conn, domain, now=NOW)
        add_mailbox(conn, OTHER, MailboxType.PER, RPPS, now=NOW)
        return add_mailbox(conn, BOX, MailboxType.PER, RPPS, now=NOW)


def test_an_alias_is_what_was_given(database: Database, box: Mailbox) -> None:
    with database.write() as conn:
        number = change_number(conn)
        added = add_alias(conn, BOX, ALIAS, ends_at=END, now=NOW)
        assert change_number(conn) != number
    assert (added.mailbox_id, added.address, added.ends_at) == (box.id, ALIAS, END)
    with database.read() as conn:
        assert aliases_of(conn, [box.id]) == {box.id: (added,)}
        # An alias only receives: commands and senders name the mailbox.
        assert resolve(conn, [ALIAS]) == {}
        with pytest.raises(NotFound, match=f"it is an alias of {BOX}"):
            get_mailbox(conn, ALIAS.upper())


def test_an_address_is_given_once_among_mailboxes_and_aliases_domain_9_34(
    database: Database, box: Mailbox
) -> None:
    """DOMAIN §9.34."""
    with database.write() as conn:
        add_alias(conn, BOX, ALIAS, ends_at=END, now=NOW)
    for owner, again, says in (
        (OTHER, ALIAS.lower(), "alias of another mailbox already"),
        (BOX, ALIAS.upper(), "alias of this mailbox already"),
        (BOX, OTHER, "is a mailbox, and no alias"),
        (BOX, BOX, "is a mailbox, and no alias"),
    ):
        with pytest.raises(Conflict, match=says), database.write() as conn:
            add_alias(conn, owner, again, ends_at=None, now=NOW)
    with pytest.raises(Conflict, match=f"an alias of {BOX}"), database.write() as conn:
        add_mailbox(conn, ALIAS, MailboxType.PER, RPPS, now=NOW)
    # Nor after its end: the mail of one holder must never reach another.
    with database.write() as conn:
        end_alias(conn, BOX, ALIAS, ends_at=NOW, now=NOW)
    with pytest.raises(Conflict), database.write() as conn:
        add_mailbox(conn, ALIAS, MailboxType.PER, RPPS, now=LATER)
    with pytest.raises(Conflict), database.write() as conn:
        add_alias(conn, OTHER, ALIAS, ends_at=None, now=LATER)
    # Its own mailbox may have it back.
    with database.write() as conn:
        assert add_alias(conn, BOX, ALIAS, ends_at=None, now=LATER).ends_at is None
        assert len(aliases_of(conn, [box.id])[box.id]) == 1


@pytest.mark.usefixtures("box")
def test_wrong_aliases_are_refused(database: Database) -> None:
    for alias, ends_at, error in (
        ("a b@chu.mssante.fr", None, InvalidAddress),
        ("x@elsewhere.mssante.fr", None, NotFound),
        (ALIAS, NOW - timedelta(seconds=1), InvalidAttribute),
    ):
        with pytest.raises(error), database.write() as conn:
            add_alias(conn, BOX, alias, ends_at=ends_at, now=NOW)
    with pytest.raises(NotFound), database.write() as conn:
        add_alias(conn, "nobody@chu.mssante.fr", ALIAS, ends_at=None, now=NOW)
    with database.write() as conn:
        add_alias(conn, BOX, ALIAS, ends_at=None, now=NOW)
    with pytest.raises(NotFound, match="has no alias"), database.write() as conn:
        end_alias(conn, OTHER, ALIAS, ends_at=NOW, now=NOW)
    with pytest.raises(InvalidAttribute, match="in the past"), database.write() as conn:
        end_alias(conn, BOX, ALIAS, ends_at=NOW, now=LATER)


@pytest.mark.usefixtures("box")
def test_a_closed_or_deleted_mailbox_gets_no_alias(database: Database) -> None:
    with database.write() as conn:
        set_state(conn, BOX, MailboxState.CLOSED)
        delete_mailbox(conn, OTHER, reason="x", grace=timedelta(days=1), now=NOW)
    for owner, state in ((BOX, "closed"), (OTHER, "deleted")):
        with pytest.raises(InvalidState, match=f"is {state}"), database.write() as conn:
            add_alias(conn, owner, ALIAS, ends_at=None, now=NOW)


@pytest.mark.usefixtures("box")
def test_two_who_want_an_address_at_once_do_not_both_get_it_domain_9_34(
    database: Database,
) -> None:
    """DOMAIN §9.34: no constraint spans both tables, so the second waits for the first."""
    refused: list[Conflict] = []

    def second() -> None:
        try:
            with database.write() as conn:
                add_mailbox(conn, ALIAS, MailboxType.PER, RPPS, now=NOW)
        except Conflict as error:
            refused.append(error)

    other = Thread(target=second)
    with database.write() as conn:
        add_alias(conn, BOX, ALIAS, ends_at=None, now=NOW)
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join(30)
    assert len(refused) == 1
    with database.read() as conn:
        assert resolve(conn, [ALIAS]) == {}


@pytest.mark.usefixtures("box")
def test_an_alias_that_has_ended_is_not_ended_again(database: Database) -> None:
    """With a later end it would live again, unchecked: on a closed mailbox, in a removed domain."""
    with database.write() as conn:
        add_alias(conn, BOX, ALIAS, ends_at=LATER, now=NOW)
        assert end_alias(conn, BOX, ALIAS, ends_at=END, now=NOW).ends_at == END
        end_alias(conn, BOX, ALIAS, ends_at=LATER, now=NOW)
        remove_domain(conn, "cabinet.mssante.fr", now=LATER)
    for ends_at in (LATER, END):
        with pytest.raises(InvalidState, match="add it again"), database.write() as conn:
            end_alias(conn, BOX, ALIAS, ends_at=ends_at, now=LATER)
    with pytest.raises(NotFound), database.write() as conn:
        add_alias(conn, BOX, ALIAS, ends_at=END, now=LATER)
    with database.read() as conn:
        assert find_recipients(conn, [ALIAS])[ALIAS].ends_at == LATER


@pytest.mark.usefixtures("box")
def test_an_alias_joins_no_two_tenants(database: Database) -> None:
    """Mail for a domain of one tenant would reach a mailbox of another."""
    with database.write() as conn:
        other = add_tenant(conn, "chu", now=NOW)
        give_domain(conn, "cabinet.mssante.fr", other, now=NOW)
    with pytest.raises(InvalidState, match="of different tenants"), database.write() as conn:
        add_alias(conn, BOX, ALIAS, ends_at=None, now=NOW)
    with database.write() as conn:
        give_domain(conn, "chu.mssante.fr", other, now=NOW)
        add_alias(conn, BOX, ALIAS, ends_at=END, now=NOW)
        operator = get_tenant(conn, "operator")
    for domain in ("chu.mssante.fr", "CABINET.mssante.fr"):
        with pytest.raises(InvalidState, match="joins"), database.write() as conn:
            give_domain(conn, domain, operator, now=NOW)
    with database.write() as conn:
        give_domain(conn, "cabinet.mssante.fr", operator, now=END)
