"""Quotas of a mailbox and of its domain, where people add messages."""

import pytest

from mailstore.errors import NotFound, OverQuota
from mailstore.mail.quota import Quota, domain_quota, set_domain_quota
from mailstore.mailboxes.mailboxes import set_quota
from mailstore.mailboxes.usage import used_by_domain, used_by_mailbox, used_octets
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
