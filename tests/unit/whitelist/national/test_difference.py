"""Differences between two lists (DOMAIN §9.12, U7, 10: added, removed, re-certified)."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.lists.lists import made
from whitelist.national.difference import ListDifference, RecertifiedDomain, compare_lists, summary
from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName

A, B, C = (f"CN=relay.{letter}.fr,O=CHU  X,C=FR" for letter in "abc")
Index = dict[str, frozenset[DistinguishedName]]


def white_list(*pairs: tuple[str, str]) -> WhiteList:
    return made(pairs)[1]


def names(*texts: str) -> tuple[DistinguishedName, ...]:
    return tuple(map(DistinguishedName.parse, texts))


def test_domains_come_and_go_and_change_their_names() -> None:
    old = white_list(
        ("z.gone.fr", A), ("a.gone.fr", B), ("stays.fr", A), ("moved.fr", A), ("more.fr", A)
    )  # fmt: skip
    new = white_list(
        ("z.new.fr", A), ("b.new.fr", C), ("stays.fr", A), ("moved.fr", C), ("more.fr", A),
        ("more.fr", C), ("moved.fr", B),
    )  # fmt: skip
    assert compare_lists(old, new) == ListDifference(
        added=("b.new.fr", "z.new.fr"),
        removed=("a.gone.fr", "z.gone.fr"),
        recertified=(
            RecertifiedDomain("more.fr", added=names(C), removed=()),
            RecertifiedDomain("moved.fr", added=names(B, C), removed=names(A)),
        ),
    )


def test_spelling_order_and_repetition_are_no_change() -> None:
    # DOMAIN §9.8: names compared as parsed; §9.7: duplicates merged, letter case of domains
    old = white_list(("a.fr", A), ("a.fr", 'CN=x.fr,O="CHU  Y",C=FR'), ("b.fr", B))
    new = white_list(
        ("b.fr", B), ("A.FR", "CN=x.fr, O=CHU Y, C=FR"), ("a.fr", A), ("a.fr", A.lower())
    )  # fmt: skip
    assert compare_lists(old, new) == ListDifference((), (), ())


def test_names_that_only_resemble_each_other_are_a_change() -> None:
    # DOMAIN §9.8: `Paris (75)` and `Paris(75)` stay different
    old = white_list(("a.fr", "CN=x.fr,ST=Paris (75),C=FR"))
    new = white_list(("a.fr", "CN=x.fr,ST=Paris(75),C=FR"))
    assert [change.domain for change in compare_lists(old, new).recertified] == ["a.fr"]


def test_from_nothing_and_to_nothing() -> None:
    full, empty = white_list(("a.fr", A), ("b.fr", B)), white_list()
    assert compare_lists(empty, full) == ListDifference(("a.fr", "b.fr"), (), ())
    assert compare_lists(full, empty) == ListDifference((), ("a.fr", "b.fr"), ())
    assert compare_lists(full, full) == ListDifference((), (), ())


def test_the_summary_tells_the_common_changes_by_number() -> None:
    domains = [f"d{n}.fr" for n in range(9)]
    old = white_list(*((domain, A) for domain in domains), ("two.fr", A), ("two.fr", B))
    new = white_list(
        *((domain, B) for domain in domains[:4]),
        *((domain, name) for domain in domains[4:7] for name in (A, C)),
        *((domain, C) for domain in domains[7:]),
        ("two.fr", B),
    )
    a, b, c = (str(names(text)[0]) for text in (A, B, C))
    assert summary(compare_lists(old, new)) == (
        f"4 domains such as d0.fr change from {a} to {b}; "
        f"3 domains such as d4.fr gain {c}; "
        f"2 domains such as d7.fr change from {a} to {c}; "
        "1 domains change in 1 other ways"
    )
    assert f"1 domains such as two.fr lose {a}" in summary(compare_lists(old, new), 4)
    assert summary(compare_lists(old, old)) == ""


PAIRS = st.lists(
    st.tuples(
        st.sampled_from([f"{letter}.fr" for letter in "abcdef"]), st.sampled_from([A, B, C])
    ),
    max_size=12,
)  # fmt: skip


def index(white_list: WhiteList) -> Index:
    """The list as its queries show it."""
    domains = {entry.domain for entry in white_list.document.entries}
    return {domain: white_list.names_of(domain) for domain in domains}


def applied(old: Index, difference: ListDifference, new: Index) -> Index:
    """The old list with the difference applied, without names of new domains."""
    result = {domain: old[domain] for domain in old.keys() - set(difference.removed)}
    assert result.keys() & set(difference.added) == set()
    result |= {domain: new[domain] for domain in difference.added}
    for change in difference.recertified:
        assert result[change.domain] >= set(change.removed)
        assert result[change.domain].isdisjoint(change.added)
        assert change.added or change.removed
        result[change.domain] = result[change.domain] - set(change.removed) | set(change.added)
    return result


@given(PAIRS, PAIRS)
def test_a_difference_applied_to_the_old_list_gives_the_new_one(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    old, new = white_list(*before), white_list(*after)
    difference = compare_lists(old, new)
    assert applied(index(old), difference, index(new)) == index(new)
    back = compare_lists(new, old)
    assert (back.added, back.removed) == (difference.removed, difference.added)
    assert [(c.domain, c.removed, c.added) for c in back.recertified] == [
        (c.domain, c.added, c.removed) for c in difference.recertified
    ]
    changed = [change.domain for change in difference.recertified]
    for part in ([*difference.added], [*difference.removed], changed):
        assert part == sorted(set(part))
