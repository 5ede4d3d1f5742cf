"""The remembered use of domains: late by seconds, and never wrong for long."""

import pytest
from sqlalchemy import delete

from mailstore.db.schema import entries
from mailstore.mail.domain_usage import (
    FRESH_SECONDS,
    IDLE_SECONDS,
    SUM_SECONDS,
    DomainUsage,
)
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_domain
from tests.support.clock import NOW
from tests.support.db.plans import explained
from tests.support.people.house import RPPS
from tests.support.storage.mail_house import OCTETS, MailHouse


class Asked:
    """Usage of domains of a house, by a clock that the test moves."""

    def __init__(self, house: MailHouse) -> None:
        self.house, self.now = house, 100.0
        self.usage = DomainUsage(lambda: self.now)

    def messages(self, domain: str = "a.mssante.fr") -> float:
        with self.house.database.read() as conn:
            return self.usage.octets(conn, get_domain(conn, domain).id) / OCTETS

    def erase(self) -> None:
        with self.house.database.write() as conn:
            conn.execute(delete(entries))


def test_new_messages_count_after_two_seconds(house: MailHouse) -> None:
    asked = Asked(house)
    house.deliver(2, house.a, house.b)
    assert asked.messages() == 4
    house.deliver(1)
    asked.now += FRESH_SECONDS - 0.1
    assert asked.messages() == 4
    asked.now += 0.1
    assert asked.messages() == 5
    asked.now += FRESH_SECONDS
    assert asked.messages() == 5  # counted once


def test_a_look_at_a_mailbox_changes_no_use(house: MailHouse) -> None:
    asked = Asked(house)
    house.deliver(2)
    assert asked.messages() == 2
    house.view().look()
    asked.now += FRESH_SECONDS
    assert asked.messages() == 2
    asked.now += SUM_SECONDS
    asked.usage.sum_due(house.database)
    assert asked.messages() == 2


def test_removals_count_from_the_next_sum_on(house: MailHouse) -> None:
    asked = Asked(house)
    house.deliver(3)
    assert asked.messages() == 3
    assert not asked.usage.any_due()
    asked.erase()
    asked.now += SUM_SECONDS
    assert asked.messages() == 3
    assert asked.usage.any_due()
    asked.usage.sum_due(house.database)
    assert not asked.usage.any_due()
    assert asked.messages() == 0


def test_a_domain_that_nobody_asked_for_is_summed_anew(house: MailHouse) -> None:
    asked = Asked(house)
    house.deliver(3)
    assert asked.messages() == 3
    asked.erase()
    asked.now += FRESH_SECONDS + IDLE_SECONDS
    assert asked.messages() == 0


def test_domains_are_kept_apart(house: MailHouse) -> None:
    with house.database.write() as conn:
        for domain in ("b.mssante.fr", "c.mssante.fr"):
            add_domain(conn, domain, now=NOW)
        other = add_mailbox(conn, "x@b.mssante.fr", MailboxType.PER, RPPS, now=NOW).id
    asked = Asked(house)
    house.deliver(1)
    assert asked.messages() == 1
    house.deliver(2, other)
    # Summed later than the first domain: the new messages up to then are not added once more.
    assert asked.messages("b.mssante.fr") == 2
    assert asked.messages("c.mssante.fr") == 0
    house.deliver(3, house.b, other)
    asked.now += FRESH_SECONDS
    assert [asked.messages(f"{one}.mssante.fr") for one in "abc"] == [4, 5, 0]


def test_a_sum_that_takes_long_is_rarely_made(house: MailHouse) -> None:
    asked = Asked(house)
    assert asked.messages() == 0

    def slow() -> float:
        asked.now += 5.0
        return asked.now

    asked.now += SUM_SECONDS
    asked.usage.clock = slow
    asked.usage.sum_due(house.database)
    asked.usage.clock = lambda: asked.now
    asked.now += SUM_SECONDS
    assert not asked.usage.any_due()
    asked.now += 19 * 5.0 - SUM_SECONDS
    assert asked.usage.any_due()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_new_messages_are_found_by_their_numbers(house: MailHouse) -> None:
    asked = Asked(house)
    assert asked.messages() == 0
    asked.now += FRESH_SECONDS
    with house.database.read() as conn:
        domain = get_domain(conn, "a.mssante.fr").id
        with explained(conn) as plans:
            asked.usage.octets(conn, domain)
    (plan,) = plans
    # Not by the mailboxes of the domain, of which there may be 100 000.
    assert plan.startswith("SEARCH entries USING INTEGER PRIMARY KEY (rowid>?)"), plan
