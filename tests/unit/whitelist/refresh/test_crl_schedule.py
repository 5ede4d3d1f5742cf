"""Schedule of a revocation list's URL, and its file."""

from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.lists.hierarchy import NOW, crl, hierarchy
from whitelist.pki.crl import RevocationList
from whitelist.refresh.crl_schedule import CrlAddress, load_addresses, save_addresses

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SECOND = timedelta(seconds=1)
LIST = RevocationList.read(crl(hierarchy().intermediate, issued=NOW, days=6))
LISTS = {"a.crl": LIST}
GOOD = CrlAddress(NOW, 0, "a.crl")


def first_due(address: CrlAddress, interval: timedelta = DAY) -> timedelta:
    """Time after NOW at which the URL is due, to the second."""
    low, high = 0, 40 * 86_400
    while low < high:
        middle = (low + high) // 2
        if address.due(NOW + middle * SECOND, interval, LISTS):
            high = middle
        else:
            low = middle + 1
    return low * SECOND


def test_an_address_is_asked_daily() -> None:
    assert CrlAddress().due(NOW, DAY, {})
    assert first_due(GOOD) == DAY
    assert first_due(GOOD, 12 * HOUR) == 12 * HOUR


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 30), (2, 60), (3, 120), (6, 960), (7, 1800), (1000, 1800)]
)
def test_after_failures_less_and_less_often(failures: int, seconds: int) -> None:
    assert first_due(replace(GOOD, failures=failures)) == seconds * SECOND


def test_near_the_end_of_the_list_more_often() -> None:
    # A quarter of six days is left after four and a half.
    assert first_due(GOOD, 30 * DAY) == 4.5 * DAY
    late = replace(GOOD, asked=NOW + 5 * DAY)
    assert not late.due(NOW + 5 * DAY + 29 * SECOND * 60, DAY, LISTS)
    assert late.due(NOW + 5 * DAY + 30 * SECOND * 60, DAY, LISTS)


def test_a_list_that_is_gone_is_asked_for_at_once() -> None:
    minute = NOW + timedelta(minutes=1)
    assert not GOOD.due(minute, DAY, LISTS)
    assert GOOD.due(minute, DAY, LISTS, frozenset({"a.crl"}))
    assert not GOOD.due(minute, DAY, LISTS, frozenset({"b.crl"}))
    assert GOOD.due(minute, DAY, {})
    assert not GOOD.due(NOW + SECOND, DAY, {})  # but not in every round


def test_a_clock_that_was_ahead_puts_nothing_off() -> None:
    # DOMAIN §9.62: lists must be fetched even if the last fetch is dated in the future.
    assert CrlAddress(NOW + 60 * DAY, 0, "a.crl").due(NOW, DAY, LISTS)
    assert CrlAddress(NOW + SECOND, 9, "a.crl").due(NOW, DAY, LISTS)


addresses = st.builds(
    CrlAddress,
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.integers(0, 10**6),
    st.text(),
)


@given(st.dictionaries(st.text(), addresses))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, CrlAddress]
) -> None:
    folder = tmp_path_factory.mktemp("crl")
    save_addresses(folder, found)
    assert load_addresses(folder) == found


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"http://a.fr/": 5}',
        b'{"http://a.fr/": {"asked": "2026-11-22", "failures": 0, "list": ""}}',
        b'{"http://a.fr/": {"asked": "never", "failures": 0, "list": ""}}',
        b'{"http://a.fr/": {"asked": null, "failures": "x", "list": ""}}',
    ],
)
def test_a_damaged_file_says_nothing(tmp_path: Path, damaged: bytes) -> None:
    assert load_addresses(tmp_path) == {}
    (tmp_path / "addresses.json").write_bytes(damaged)
    assert load_addresses(tmp_path) == {}


def test_the_file_makes_its_folder(tmp_path: Path) -> None:
    save_addresses(tmp_path / "crl", {"http://a.fr/": CrlAddress()})
    assert load_addresses(tmp_path / "crl") == {"http://a.fr/": CrlAddress()}
