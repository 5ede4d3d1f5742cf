"""Domains and mailboxes (DOMAIN §1.3, §9.32 to §9.39)."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, event, text

from mailstore.accounts.tenants import add_tenant, get_tenant, give_domain
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT
from mailstore.errors import Conflict, InvalidAddress, InvalidIdentifier, InvalidState, NotFound
from mailstore.mailboxes.attributes import Attribute
from mailstore.mailboxes.changes import change_number
from mailstore.mailboxes.domain_removal import remove_domain
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.mailboxes import (
    add_domain,
    add_mailbox,
    get_mailbox,
    is_local_domain,
    list_domains,
    list_mailboxes,
    local_domains,
    resolve,
    set_attributes,
    set_quota,
)
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import MailboxState
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
FINESS = Identifier(IdentifierKind.FINESS, "2A0000154")


@pytest.fixture
def hosted(database: Database) -> Database:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        add_domain(conn, "Cabinet.MSSante.fr", now=NOW)
    return database


def add(conn: Connection, address: str) -> Mailbox:
    return add_mailbox(conn, address, MailboxType.PER, RPPS, now=NOW)


def test_domains_are_listed_in_lower_case(hosted: Database) -> None:
    with hosted.read() as conn:
        listed = list_domains(conn)
        assert [domain.name for domain in listed] == ["cabinet.mssante.fr", "chu.mssante.fr"]
        assert all(domain.created_at == NOW for domain in listed)
        assert local_domains(conn) == {"cabinet.mssante.fr", "chu.mssante.fr"}
        assert is_local_domain(conn, "CHU.mssante.fr")
        # DOMAIN §9.11: exact names, no suffix.
        assert not is_local_domain(conn, "mssante.fr")
        assert not is_local_domain(conn, "x.chu.mssante.fr")


def test_a_domain_is_added_once_in_any_case(hosted: Database) -> None:
    with (
        pytest.raises(Conflict, match=r"chu\.mssante\.fr is hosted already"),
        hosted.write() as conn,
    ):
        add_domain(conn, "CHU.mssante.fr", now=NOW)


def test_a_mailbox_is_what_was_given(hosted: Database) -> None:
    with hosted.write() as conn:
        added = add_mailbox(
            conn,
            "Urgences@CHU.mssante.fr",
            MailboxType.ORG,
            FINESS,
            attributes={Attribute.DESCRIPTION: "Service des urgences"},
            now=NOW,
        )
    assert added == Mailbox(
        id=added.id,
        local_part="Urgences",
        domain="chu.mssante.fr",
        type=MailboxType.ORG,
        state=MailboxState.ACTIVE,
        identifier=FINESS,
        description="Service des urgences",
        created_at=NOW,
    )
    assert added.address == "Urgences@chu.mssante.fr"
    with hosted.read() as conn:
        assert get_mailbox(conn, "urgences@chu.MSSANTE.fr") == added


@pytest.mark.parametrize(
    "again", ["A.B@chu.mssante.fr", "a.b@CHU.mssante.fr", " a.b@chu.mssante.fr"]
)
def test_an_address_is_given_once_domain_9_34(hosted: Database, again: str) -> None:
    with hosted.write() as conn:
        add(conn, "a.b@chu.mssante.fr")
    # DOMAIN §9.34
    with pytest.raises(Conflict, match="exists already"), hosted.write() as conn:
        add(conn, again)


def test_the_address_of_a_closed_mailbox_is_not_given_again(hosted: Database) -> None:
    with hosted.write() as conn:
        add(conn, "a@chu.mssante.fr")
        set_state(conn, "a@chu.mssante.fr", MailboxState.CLOSED)
        with pytest.raises(Conflict):
            add(conn, "a@chu.mssante.fr")


def test_the_domain_comes_first(hosted: Database) -> None:
    with pytest.raises(NotFound, match=r"chru\.mssante\.fr is not hosted"), hosted.write() as conn:
        add(conn, "a@chru.mssante.fr")


def test_bad_addresses_and_identifiers_are_refused(hosted: Database) -> None:
    with pytest.raises(InvalidAddress), hosted.write() as conn:
        add(conn, "a b@chu.mssante.fr")
    with pytest.raises(InvalidIdentifier, match="APP mailbox"), hosted.write() as conn:
        add_mailbox(conn, "a@chu.mssante.fr", MailboxType.APP, RPPS, now=NOW)
    with hosted.read() as conn:
        assert list_mailboxes(conn) == []


def test_mailboxes_are_listed_by_address(hosted: Database) -> None:
    with hosted.write() as conn:
        mine = [add(conn, f"{name}@chu.mssante.fr") for name in ("b", "a")]
        theirs = add(conn, "c@cabinet.mssante.fr")
    with hosted.read() as conn:
        assert list_mailboxes(conn, "CHU.mssante.fr") == mine[::-1]
        assert list_mailboxes(conn) == [mine[1], mine[0], theirs]
        with pytest.raises(NotFound, match="not hosted"):
            list_mailboxes(conn, "chru.mssante.fr")


def test_mailboxes_are_listed_in_pages(hosted: Database) -> None:
    with hosted.write() as conn:
        for name in ("É", "b", "A", "d", "c"):
            add(conn, f"{name}@chu.mssante.fr")
        add(conn, "a@cabinet.mssante.fr")
    with hosted.read() as conn:
        for domain in (None, "chu.mssante.fr"):
            whole = list_mailboxes(conn, domain)
            paged: list[Mailbox] = []
            while page := list_mailboxes(
                conn, domain, after=paged[-1].address if paged else "", limit=2
            ):
                assert len(page) <= 2
                paged += page
            assert paged == whole


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("address > 'm'", "(address>?)"),
        ("domain_id = 1 AND address > 'm'", "domain_id_address (domain_id=? AND address>?)"),
    ],
)
def test_a_page_is_found_by_an_index(database: Database, condition: str, index: str) -> None:
    """The cost of a page depends only on its length."""
    query = "EXPLAIN QUERY PLAN SELECT mailboxes.*, domains.name"
    query += " FROM mailboxes JOIN domains ON domains.id = mailboxes.domain_id WHERE "
    with database.read() as conn:
        rows = conn.execute(text(query + condition + " ORDER BY address LIMIT 100"))
        plan = [row.detail for row in rows]
    assert any(step.endswith(index) for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_recipients_are_resolved_as_given_in_one_query(hosted: Database) -> None:
    with hosted.write() as conn:
        added = [add(conn, f"m{i}@chu.mssante.fr") for i in range(300)]
        helene = add(conn, "Hélène@chu.mssante.fr")
    given = [f"M{i}@CHU.mssante.fr" for i in range(300)]
    odd = ["m1@chru.mssante.fr", "unknown@chu.mssante.fr", "", "@", "no at", '""@chu.mssante.fr']
    same = ["hélène@chu.mssante.fr", '"hélène"@chu.mssante.fr', "HE\u0301LE\u0300NE@chu.mssante.fr"]
    statements = []
    with hosted.read() as conn:
        event.listen(
            conn, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        found = resolve(conn, [*given, *odd, *same])
    assert found == {**dict(zip(given, added, strict=True)), **dict.fromkeys(same, helene)}
    assert len(statements) == 1


def test_no_recipients_resolve_to_nothing(hosted: Database) -> None:
    with hosted.read() as conn:
        assert resolve(conn, []) == {}
        with pytest.raises(NotFound, match="no mailbox a@b"):
            get_mailbox(conn, "a@b")


def test_life_of_a_mailbox_domain_9_39(hosted: Database) -> None:
    address = "a@chu.mssante.fr"
    with hosted.write() as conn:
        add(conn, address)
        other = add(conn, "b@chu.mssante.fr")
        for state in ("suspended", "suspended", "active", "suspended", "closed", "closed"):
            assert set_state(conn, address, MailboxState(state)).state == state
        for state in ("active", "suspended"):
            with pytest.raises(InvalidState, match="closed, which is final"):
                set_state(conn, address, MailboxState(state))
        assert get_mailbox(conn, address).state is MailboxState.CLOSED
        assert get_mailbox(conn, other.address) == other
        with pytest.raises(NotFound):
            set_state(conn, "x@chu.mssante.fr", MailboxState.CLOSED)


def test_a_change_that_was_lost_and_the_next_one_are_told_apart(hosted: Database) -> None:
    # As after a fail-over to a lagging standby: sessions cache mailboxes by the number.
    with hosted.write() as conn:
        before = change_number(conn)
        add(conn, "one@chu.mssante.fr")
        lost = change_number(conn)
        conn.rollback()
    with hosted.write() as conn:
        assert change_number(conn) == before
        add(conn, "two@chu.mssante.fr")
        assert change_number(conn) not in {before, lost}


def test_a_deleted_mailbox_is_not_changed(hosted: Database) -> None:
    """A description given then would outlive the erasure of the content."""
    with hosted.write() as conn:
        add(conn, "a@chu.mssante.fr")
        delete_mailbox(conn, "a@chu.mssante.fr", reason="x", grace=timedelta(0), now=NOW)
    refused = pytest.raises(InvalidState, match="is deleted: restore it first")
    with refused, hosted.write() as conn:
        set_attributes(conn, "a@chu.mssante.fr", {Attribute.RANK: 1})
    with refused, hosted.write() as conn:
        set_quota(conn, "a@chu.mssante.fr", 5)


def test_a_domain_hosted_again_is_the_operators(hosted: Database) -> None:
    """Its former tenant has no part in it, unless it is given again."""
    with hosted.write() as conn:
        add_tenant(conn, "chu", now=NOW)
        give_domain(conn, "chu.mssante.fr", get_tenant(conn, "chu"), now=NOW)
        assert remove_domain(conn, "chu.mssante.fr", now=NOW).tenant_id != OPERATOR_TENANT
        assert add_domain(conn, "chu.mssante.fr", now=NOW).tenant_id == OPERATOR_TENANT
