"""Adoption of verified lists, at the exact limits (DOMAIN §2.6, §9.6, §9.12)."""

from datetime import timedelta, timezone

import pytest

from tests.support.lists.hierarchy import NOW
from tests.support.lists.lists import made, of_size
from whitelist.errors import ListReason, ListRefused
from whitelist.national.adoption import OwnDomainProblem, decide_adoption, own_domains
from whitelist.national.difference import compare_lists
from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName

SECOND = timedelta(seconds=1)
SHRINK = 0.2


def refusal(active: int | None, candidate: int, max_shrink: float = SHRINK) -> ListReason | None:
    """Reason of the refusal of a later list with `candidate` domains, without consent."""
    before = of_size(active)[1] if active is not None else None
    try:
        decide_adoption(
            before, of_size(candidate, NOW + SECOND)[1], max_shrink, accept_shrink=False
        )
    except ListRefused as refused:
        return refused.reason
    return None


def test_the_first_list_is_adopted() -> None:
    assert refusal(None, 1) is None


@pytest.mark.parametrize(
    ("active", "candidate", "max_shrink", "expected"),
    [
        (10, 8, 0.2, None),
        (10, 7, 0.2, ListReason.SHRUNK),
        (11, 9, 0.2, None),
        (11, 8, 0.2, ListReason.SHRUNK),
        (4, 3, 0.2, ListReason.SHRUNK),
        (5, 4, 0.2, None),
        # In floating point, 0.29 * 100 is less than 29 and 0.07 * 100 more than 7.
        (100, 71, 0.29, None),
        (100, 70, 0.29, ListReason.SHRUNK),
        (100, 93, 0.07, None),
        (100, 92, 0.07, ListReason.SHRUNK),
        (10, 10, 0.0, None),
        (10, 9, 0.0, ListReason.SHRUNK),
        (10, 11, 0.0, None),
        (10, 1, 1.0, None),
        (10, 0, 1.0, ListReason.SHRUNK),
        (1, 10, 0.2, None),
        (0, 1, 0.2, None),
    ],
)
def test_the_share_that_may_vanish(
    active: int, candidate: int, max_shrink: float, expected: ListReason | None
) -> None:
    assert refusal(active, candidate, max_shrink) is expected


def test_a_list_without_domains_is_not_adopted_unasked() -> None:
    assert refusal(None, 0) is ListReason.SHRUNK
    assert refusal(0, 0) is ListReason.SHRUNK
    decide_adoption(None, of_size(0)[1], SHRINK, accept_shrink=True)
    decide_adoption(of_size(9)[1], of_size(0, NOW)[1], SHRINK, accept_shrink=True)


def test_the_refusal_says_how_many_and_what_to_do() -> None:
    with pytest.raises(ListRefused) as caught:
        decide_adoption(of_size(10)[1], of_size(6)[1], SHRINK, accept_shrink=False)
    assert "lists 6 domains and lacks 4 of the 10" in caught.value.detail
    assert "20%" in caught.value.detail
    assert "--accept-shrink" in caught.value.detail


def test_entries_that_vanish_from_a_domain_do_not_count_as_domains() -> None:
    before = made([("a.fr", f"CN=s{n}.fr,C=FR") for n in range(9)])[1]
    decide_adoption(before, made([("a.fr", "CN=s0.fr,C=FR")])[1], 0.0, accept_shrink=False)


def moved(domains: int, changed: int, lost: int = 0) -> WhiteList:
    """The list `of_size(domains)`, later, with `changed` other names and `lost` missing domains."""
    return made(
        [
            (f"d{n}.mssante.fr", f"CN={'other' if n < changed else f's{n}'}.fr,C=FR")
            for n in range(domains - lost)
        ],
        NOW + SECOND,
    )[1]


@pytest.mark.parametrize(
    ("changed", "lost", "expected"),
    [
        (2, 0, None),
        (3, 0, ListReason.RECERTIFIED),
        (1, 1, None),
        (2, 1, ListReason.RECERTIFIED),
        (0, 3, ListReason.SHRUNK),
        (10, 0, ListReason.RECERTIFIED),
    ],
)
def test_the_share_that_may_change_its_names(
    changed: int, lost: int, expected: ListReason | None
) -> None:
    # DOMAIN U7 10: bulk moves wait for a person above a threshold.
    before, after = of_size(10)[1], moved(10, changed, lost)
    found = compare_lists(before, after)
    decide_adoption(before, after, SHRINK, accept_shrink=True, found=found)
    if expected is None:
        decide_adoption(before, after, SHRINK, accept_shrink=False, found=found)
        return
    with pytest.raises(ListRefused) as caught:
        decide_adoption(before, after, SHRINK, accept_shrink=False, found=found)
    assert caught.value.reason is expected
    assert "--accept-shrink" in caught.value.detail


def test_names_that_are_added_count_as_a_change_and_new_domains_do_not() -> None:
    pairs = [(f"d{n}.mssante.fr", f"CN=s{n}.fr,C=FR") for n in range(10)]
    before = made(pairs)[1]
    intruder = made([*pairs, *((domain, "CN=intrus.fr,C=FR") for domain, _ in pairs)])[1]
    with pytest.raises(ListRefused) as caught:
        decide_adoption(
            before, intruder, SHRINK, accept_shrink=False, found=compare_lists(before, intruder)
        )
    said = "0 vanish and 10 have other certificate names, and at most 20% may change at once: "
    assert said in caught.value.detail
    assert "10 domains such as d0.mssante.fr gain CN=intrus.fr,C=FR" in caught.value.detail
    grown = made([*pairs, *((f"n{n}.mssante.fr", "CN=x.fr,C=FR") for n in range(99))])[1]
    decide_adoption(before, grown, 0.0, accept_shrink=False, found=compare_lists(before, grown))


def test_as_many_new_domains_do_not_hide_those_that_vanished() -> None:
    before = of_size(10)[1]
    after = made([(f"n{n}.mssante.fr", "CN=x.fr,C=FR") for n in range(10)], NOW + SECOND)[1]
    decide_adoption(before, after, SHRINK, accept_shrink=False)  # compared by numbers alone
    with pytest.raises(ListRefused, match="shrunk"):
        decide_adoption(
            before, after, SHRINK, accept_shrink=False, found=compare_lists(before, after)
        )


def test_an_older_list_is_never_adopted() -> None:
    # DOMAIN §9.6
    active = of_size(5)[1]
    for accept_shrink in (False, True):
        with pytest.raises(ListRefused) as caught:
            decide_adoption(
                active, of_size(5, NOW - SECOND)[1], SHRINK, accept_shrink=accept_shrink
            )
        assert caught.value.reason is ListReason.ROLLBACK
        assert active.generated_at.isoformat() in caught.value.detail
        assert (NOW - SECOND).isoformat() in caught.value.detail


def test_a_list_of_the_same_date_is_adopted() -> None:
    # DOMAIN §9.6: "accept equal", whatever the time zone it is written in
    active = of_size(5)[1]
    decide_adoption(active, of_size(6)[1], SHRINK, accept_shrink=False)
    paris = timezone(timedelta(hours=1))
    decide_adoption(active, of_size(7, NOW.astimezone(paris))[1], SHRINK, accept_shrink=False)


def test_the_list_in_force_passes_even_if_only_a_person_could_adopt_it() -> None:
    empty = of_size(0)[1]
    decide_adoption(empty, empty, SHRINK, accept_shrink=False)


OURS = DistinguishedName.parse("CN=relay.a.fr,OU=1,O=CHU A,C=FR")


def test_own_domains_that_are_listed_as_ours_raise_no_alarm() -> None:
    white_list = made(
        [
            ("a.mssante.fr", "CN=other.fr,C=FR"),
            ("a.mssante.fr", 'CN=relay.a.fr, OU=1, O="CHU  A", C=FR'),
        ]
    )[1]
    assert own_domains(white_list, ["A.mssante.fr", "a.mssante.fr"], OURS) == ()
    assert own_domains(white_list, [], OURS) == ()


def test_own_domains_that_are_missing_or_not_ours_raise_an_alarm_each() -> None:
    white_list = made(
        [
            ("z.mssante.fr", "CN=relay.a.fr,OU=2,O=CHU A,C=FR"),
            ("z.mssante.fr", "CN=other.fr,C=FR"),
            ("a.mssante.fr", str(OURS)),
        ]
    )[1]
    alarms = own_domains(white_list, ["z.mssante.fr", "a.mssante.fr", "sub.a.mssante.fr"], OURS)
    assert [(alarm.domain, alarm.problem) for alarm in alarms] == [
        ("sub.a.mssante.fr", OwnDomainProblem.UNLISTED),  # DOMAIN §9.11: exact names
        ("z.mssante.fr", OwnDomainProblem.OTHER_NAME),
    ]
    for alarm in alarms:
        assert alarm.domain in alarm.detail
        assert str(OURS) in alarm.detail
        assert NOW.isoformat() in alarm.detail
    assert "CN=other.fr,C=FR and CN=relay.a.fr,OU=2,O=CHU A,C=FR" in alarms[1].detail
