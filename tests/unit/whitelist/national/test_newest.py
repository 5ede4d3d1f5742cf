"""Lists by which mail may fail for good: the rule, for every combination of facts."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.support.lists.hierarchy import NOW
from tests.support.lists.lists import made
from whitelist.national.freshness import SLACK
from whitelist.national.newest import (
    MARGIN,
    ConfirmedList,
    KnownLists,
    SharedList,
    confirmed_at,
    is_behind,
    may_fail,
)

OURS, OTHER = "a" * 64, "b" * 64
SECOND = timedelta(seconds=1)
LIST = made([("b.fr", "CN=b,C=FR")], NOW - timedelta(days=1))[1]

instants = st.integers(-90_000, 1_000).map(lambda seconds: NOW + seconds * SECOND)
digests = st.sampled_from([LIST.digest, OTHER])
checks = st.none() | st.builds(ConfirmedList, digests, instants)
lists = st.none() | st.builds(SharedList, digests, instants, instants)
known = st.builds(KnownLists, checks, lists)


@given(known, instants)
def test_nothing_fails_by_a_list_older_than_the_message_or_another_list(
    facts: KnownLists, queued_at: datetime
) -> None:
    if not may_fail(LIST, facts, queued_at, NOW):
        return
    own, shared = facts.own, facts.shared
    if shared is not None:
        assert shared.digest == LIST.digest or shared.generated_at <= LIST.generated_at
    evidence = [LIST.generated_at]
    evidence += [own.at] if own is not None and own.digest == LIST.digest else []
    evidence += [shared.checked_at] if shared is not None and shared.digest == LIST.digest else []
    assert any(queued_at + MARGIN < at <= NOW + SLACK for at in evidence)


@given(known, instants, st.integers(1, 100_000))
def test_older_mail_fails_where_younger_does(
    facts: KnownLists, queued_at: datetime, seconds: int
) -> None:
    if may_fail(LIST, facts, queued_at, NOW):
        assert may_fail(LIST, facts, queued_at - seconds * SECOND, NOW)


@given(known, instants)
def test_a_newer_list_elsewhere_ends_all_certainty(facts: KnownLists, queued_at: datetime) -> None:
    newer = SharedList(OTHER, LIST.generated_at + SECOND, NOW)
    assert is_behind(LIST, newer)
    assert not may_fail(LIST, KnownLists(facts.own, newer), queued_at, NOW)


@given(instants, lists)
def test_the_next_check_decides(queued_at: datetime, shared: SharedList | None) -> None:
    # The sender of a mistyped address gets a DSN: a check of either kind is enough.
    if is_behind(LIST, shared):
        return
    at = queued_at + MARGIN + SECOND
    assert may_fail(LIST, KnownLists(ConfirmedList(LIST.digest, at), shared), queued_at, at)
    by_others = KnownLists(shared=SharedList(LIST.digest, LIST.generated_at, at))
    assert may_fail(LIST, by_others, queued_at, at)


def test_checks_in_time_to_come_say_nothing() -> None:
    ahead = NOW + SLACK + SECOND
    facts = KnownLists(
        ConfirmedList(LIST.digest, ahead), SharedList(LIST.digest, LIST.generated_at, ahead)
    )
    assert confirmed_at(LIST, facts, NOW) == LIST.generated_at
    assert not may_fail(LIST, facts, NOW, NOW)


def test_a_list_is_not_behind_another_of_its_time() -> None:
    assert not is_behind(LIST, None)
    assert not is_behind(LIST, SharedList(OTHER, LIST.generated_at, NOW))


def test_a_machine_without_a_list_is_behind_any() -> None:
    assert is_behind(None, SharedList(OURS, NOW, NOW))
    assert not is_behind(None, None)
