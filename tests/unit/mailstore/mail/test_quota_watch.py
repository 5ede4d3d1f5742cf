"""Mailboxes whose quota is watched, page by page, and the level that was told of each."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from mailstore.mail.quota import Quota, set_domain_quota
from mailstore.mail.quota_watch import (
    WatchedDomain,
    WatchedMailbox,
    crossing,
    ids_told,
    ids_with_new,
    ids_with_quota,
    last_entry,
    note_domain_told,
    note_told,
    told_mailboxes,
    watched_domains,
)
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.mailboxes.mailboxes import get_domain, set_quota
from tests.support.clock import NOW
from tests.support.db.plans import explained
from tests.support.storage.mail_house import OCTETS, MailHouse

A, B = "a@a.mssante.fr", "b@a.mssante.fr"


def limit(house: MailHouse, address: str, quota: int | None) -> None:
    with house.database.write() as conn:
        set_quota(conn, address, quota)


def tell(house: MailHouse, one: WatchedMailbox) -> bool:
    with house.database.write() as conn:
        return note_told(conn, one)


def crossed(house: MailHouse) -> list[WatchedMailbox]:
    with house.database.read() as conn:
        return crossing(conn, [house.a, house.b])


def test_a_crossing_is_noted_once_and_found_until_then(house: MailHouse) -> None:
    limit(house, A, 5 * OCTETS)
    house.deliver(3)
    house.view().look()
    assert crossed(house) == []
    house.deliver(1)
    found = crossed(house)
    assert found == [WatchedMailbox(house.a, A, Quota(4 * OCTETS, 5 * OCTETS), 0)]
    assert found == crossed(house)
    assert tell(house, found[0])
    assert not tell(house, found[0])  # another machine found it too
    assert crossed(house) == []
    with house.database.read() as conn:
        assert told_mailboxes(conn) == {80: 1, 95: 0}
        assert ids_told(conn, 0) == [house.a]
        assert ids_told(conn, house.a) == []


def test_a_level_that_was_left_meanwhile_is_not_noted(house: MailHouse) -> None:
    limit(house, A, OCTETS)
    house.deliver(1)
    (found,) = crossed(house)
    assert found.level == 95
    limit(house, A, 10 * OCTETS)
    assert not tell(house, found)
    assert crossed(house) == []


def test_a_fall_is_noted_too(house: MailHouse) -> None:
    limit(house, A, OCTETS)
    house.deliver(1)
    assert tell(house, crossed(house)[0])
    limit(house, A, None)
    (found,) = crossed(house)
    assert (found.told, found.level) == (95, 0)
    assert tell(house, found)
    with house.database.read() as conn:
        assert told_mailboxes(conn) == {80: 0, 95: 0}


def test_a_deleted_mailbox_is_told_of_nothing(house: MailHouse) -> None:
    limit(house, A, OCTETS)
    house.deliver(1)
    assert tell(house, crossed(house)[0])
    with house.database.write() as conn:
        delete_mailbox(conn, A, reason="départ", grace=timedelta(days=30), now=NOW)
    (found,) = crossed(house)
    assert (found.told, found.level) == (95, 0)
    assert tell(house, found)
    assert crossed(house) == []


def test_pages_have_mailboxes_with_a_quota_alone(house: MailHouse) -> None:
    limit(house, B, 10)
    with house.database.read() as conn:
        assert ids_with_quota(conn, 0) == [house.b]
        assert ids_with_new(conn, 0) == (set(), None)
        assert last_entry(conn) == 0
    house.deliver(2, house.a, house.b)
    limit(house, A, 10)
    with house.database.read() as conn:
        assert ids_with_quota(conn, 0, limit=1) == [house.a]
        assert ids_with_quota(conn, house.a) == [house.b]
        last = last_entry(conn)
        assert ids_with_new(conn, 0) == ({house.a, house.b}, last)
        assert ids_with_new(conn, last - 1)[1] == last
        assert ids_with_new(conn, last) == (set(), None)


def test_domains_are_told_by_compare_and_set(house: MailHouse) -> None:
    with house.database.write() as conn:
        assert watched_domains(conn) == []
        set_domain_quota(conn, "a.mssante.fr", 10)
        number = get_domain(conn, "a.mssante.fr").id
        (found,) = watched_domains(conn)
        assert found == WatchedDomain(number, "a.mssante.fr", 10, 0)
        assert note_domain_told(conn, found, 80)
        assert not note_domain_told(conn, found, 80)
        set_domain_quota(conn, "a.mssante.fr", None)
        assert watched_domains(conn) == [WatchedDomain(number, "a.mssante.fr", None, 80)]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_pages_are_found_by_their_indexes(house: MailHouse) -> None:
    with house.database.read() as conn, explained(conn) as plans:
        ids_with_quota(conn, 0)
        ids_told(conn, 0)
        told_mailboxes(conn)
        ids_with_new(conn, 0)
        crossing(conn, [1, 2])
    assert "ix_mailboxes_with_quota" in plans[0]
    assert all("ix_mailbox_state_quota_told" in plan for plan in plans[1:3]), plans
    for plan in plans[3:]:
        assert "SCAN" not in plan, plan


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_pages_are_found_by_their_indexes_on_postgresql(house: MailHouse) -> None:
    with house.database.read() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))  # the tables are nearly empty
        with explained(conn) as plans:
            ids_with_quota(conn, 0)
            ids_told(conn, 0)
            told_mailboxes(conn)
    assert "ix_mailboxes_with_quota" in plans[0], plans[0]
    assert all("ix_mailbox_state_quota_told" in plan for plan in plans[1:]), plans
