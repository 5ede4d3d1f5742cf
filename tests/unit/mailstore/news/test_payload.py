"""Payloads name mailboxes, within the limit of PostgreSQL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.news.payload import mailboxes_of, payloads_of

IDS = st.integers(0, 2**63 - 1)


@given(st.lists(IDS, max_size=50))
def test_each_mailbox_is_named_once(ids: list[int]) -> None:
    named = [one for payload in payloads_of(ids) for one in mailboxes_of(payload) or []]
    assert named == sorted(set(ids))


@pytest.mark.parametrize("number", [0, 1, 389, 390, 391, 2_000])
def test_payloads_of_the_largest_ids_fit(number: int) -> None:
    ids = range(2**63 - number, 2**63)
    payloads = list(payloads_of(ids))
    assert all(len(payload) < 8_000 for payload in payloads)
    assert sum(len(mailboxes_of(payload) or []) for payload in payloads) == number


@pytest.mark.parametrize("payload", ["", "1,", ",", "a", "1 2", "-1", "\u0663", "1,2;DROP"])
def test_text_of_others_names_no_mailbox(payload: str) -> None:
    assert mailboxes_of(payload) is None
