"""Quotas of a mailbox and of its domain, where people add messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.errors import NotFound, OverQuota
from mailstore.mail.quota import (
    LEVELS,
    Quota,
    domain_limits,
    domain_quota,
    domain_quotas,
    level_after,
    set_domain_quota,
)
from mailstore.mailboxes.domain_removal import remove_domain
from mailstore.mailboxes.mailboxes import add_domain, list_domains, set_quota
from mailstore.mailboxes.usage import used_by_domain, used_by_mailbox, used_octets
from tests.support.clock import NOW
from tests.support.storage.mail_house import OCTETS, MailHouse

ADDRESS, DOMAIN = "a@a.mssante.fr", "a.mssante.fr"


@pytest.mark.parametrize(
    ("used", "limit", "level"),
    [(0, None, 0), (79, 100, 0), (80, 100, 80), (94, 100, 80), (95, 100, 95), (300, 100, 95),
     (0, 0, 95)],
)  # fmt: skip
def test_levels_of_warning(used: int, limit: int | None, level: int) -> None:
    assert Quota(used, limit).level == level


def test_use_is_the_same_before_and_after_a_look(house: MailHouse) -> None:
    house.deliver(3)
    house.deliver(1, house.b)
    for _ in range(2):
        with house.database.read() as conn:
            assert used_octets(conn, house.a).octets == 3 * OCTETS
            assert used_by_mailbox(conn, [house.a, house.b]) == {
                house.a: 3 * OCTETS,
                house.b: OCTETS,
            }
            assert used_by_domain(conn, 1) == 4 * OCTETS
        house.view().look()


def test_what_is_known_of_use_stays_right_when_messages_go(house: MailHouse) -> None:
    house.deliver(4)
    view = house.view()
    with house.database.read() as conn:
        known = used_octets(conn, house.a)
    inbox = view.folders()[0].id
    view.expunge(inbox, [1, 2])
    house.deliver(1)
    with house.database.read() as conn:
        known = used_octets(conn, house.a, known)
    assert known.octets == 3 * OCTETS
    house.deliver(1)
    with house.database.read() as conn:
        assert used_octets(conn, house.a, known).octets == 4 * OCTETS


def test_what_has_no_room_is_refused(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    inbox = view.folders()[0].id
    with house.database.write() as conn:
        set_quota(conn, ADDRESS, 2 * OCTETS + 9)
    assert view.quota() == Quota(2 * OCTETS, 2 * OCTETS + 9)
    view.append(inbox, [house.letter(view, b"x" * 9)])
    with pytest.raises(OverQuota):
        view.append(inbox, [house.letter(view, b"x")])
    with pytest.raises(OverQuota):
        view.copy(inbox, [1], inbox)
    # A move needs no room; a replacement has the room of the replaced.
    view.move(inbox, [1], inbox)
    view.replace(inbox, 3, inbox, house.letter(view, b"y" * 9))
    assert view.look().messages == 3


def test_a_domain_has_a_quota_of_all_its_mailboxes(house: MailHouse) -> None:
    house.deliver(2, house.a, house.b)
    with house.database.write() as conn:
        set_domain_quota(conn, DOMAIN, 4 * OCTETS)
        assert domain_quota(conn, DOMAIN) == Quota(4 * OCTETS, 4 * OCTETS)
        with pytest.raises(NotFound):
            set_domain_quota(conn, "b.mssante.fr", 1)
    view = house.view()
    with pytest.raises(OverQuota, match="domain"):
        view.append(view.folders()[0].id, [house.letter(view)])


@pytest.mark.parametrize(
    ("used", "told", "after"),
    [
        (79, 0, 0),
        (80, 0, 80),
        (94, 80, 80),
        (95, 80, 95),
        (300, 0, 95),
        (90, 95, 95),  # at the edge
        (89, 95, 80),
        (75, 80, 80),
        (75, 95, 80),
        (74, 95, 0),
        (74, 80, 0),
    ],
)
def test_a_level_is_reached_at_once_and_left_five_points_below(
    used: int, told: int, after: int
) -> None:
    assert level_after(Quota(used, 100), told) == after


@given(st.integers(0, 200), st.sampled_from((0, *LEVELS)))
def test_what_was_told_is_not_told_again_without_a_change(used: int, told: int) -> None:
    once = level_after(Quota(used, 100), told)
    assert level_after(Quota(used, 100), once) == once


def test_without_a_limit_nothing_is_reached() -> None:
    assert level_after(Quota(10**12, None), 95) == 0
    assert (Quota(5, None).percent, Quota(5, 0).level) == (None, 95)
    assert Quota(799, 1000).percent == 79


def test_a_domain_hosted_again_has_no_quota(house: MailHouse) -> None:
    with house.database.write() as conn:
        add_domain(conn, "b.mssante.fr", now=NOW)
        set_domain_quota(conn, "b.mssante.fr", 7)
        remove_domain(conn, "b.mssante.fr", now=NOW)
        add_domain(conn, "b.mssante.fr", now=NOW)
        assert domain_quota(conn, "b.mssante.fr").limit is None


def test_only_domains_with_a_quota_are_summed(house: MailHouse) -> None:
    house.deliver(2)
    with house.database.write() as conn:
        add_domain(conn, "b.mssante.fr", now=NOW)
        assert domain_limits(conn) == {}
        set_domain_quota(conn, DOMAIN, 4 * OCTETS)
        one, two = list_domains(conn)
        assert list(domain_quotas(conn, [one, two])) == [
            (one, Quota(2 * OCTETS, 4 * OCTETS)),
            (two, None),
        ]
        assert domain_limits(conn) == {one.id: 4 * OCTETS}
