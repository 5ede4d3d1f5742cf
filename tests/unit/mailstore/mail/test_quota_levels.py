"""Shares of quotas and the levels that are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.errors import NotFound, OverQuota
from mailstore.mail.quota import (
    LEVELS,
    Quota,
    check_room,
    domain_quota,
    level_after,
    mailbox_quota,
    set_domain_quota,
)
from mailstore.mailboxes.domain_removal import remove_domain
from mailstore.mailboxes.mailboxes import add_domain, set_quota
from tests.support.clock import NOW
from tests.support.storage.mail_house import OCTETS, MailHouse

DOMAIN = "a.mssante.fr"


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


def test_the_quota_of_a_domain_counts_all_its_mailboxes(house: MailHouse) -> None:
    house.deliver(2)
    house.view().look()
    house.deliver(1, house.a, house.b)
    with house.database.write() as conn:
        assert domain_quota(conn, DOMAIN) == Quota(4 * OCTETS, None)
        assert set_domain_quota(conn, DOMAIN.upper(), 5 * OCTETS).name == DOMAIN
        assert domain_quota(conn, DOMAIN).percent == 80
        check_room(conn, house.b, OCTETS)
        with pytest.raises(OverQuota, match="domain"):
            check_room(conn, house.b, OCTETS + 1)
        set_quota(conn, f"b@{DOMAIN}", OCTETS)
        assert mailbox_quota(conn, house.b).takes(0)
        with pytest.raises(OverQuota, match="mailbox"):
            check_room(conn, house.b, 1)
        with pytest.raises(NotFound):
            set_domain_quota(conn, "x.mssante.fr", 1)


def test_a_domain_hosted_again_has_no_quota(house: MailHouse) -> None:
    with house.database.write() as conn:
        add_domain(conn, "b.mssante.fr", now=NOW)
        set_domain_quota(conn, "b.mssante.fr", 7)
        remove_domain(conn, "b.mssante.fr", now=NOW)
        add_domain(conn, "b.mssante.fr", now=NOW)
        assert domain_quota(conn, "b.mssante.fr").limit is None
