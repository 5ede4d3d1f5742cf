"""Decisions on a message from the facts that are known of it."""

from hypothesis import given
from hypothesis import strategies as st

from mailstore.search import criteria as c
from mailstore.search.deciding import cheaper, decide, leaves

LEAVES = tuple(c.Body(name) for name in "abc")
_trees = st.recursive(
    st.sampled_from((*LEAVES, c.All())),
    lambda part: st.one_of(
        st.lists(part, max_size=3).map(lambda parts: c.And(tuple(parts))),
        st.lists(part, max_size=3).map(lambda parts: c.Or(tuple(parts))),
        part.map(c.Not),
    ),
    max_leaves=8,
)
_facts = st.dictionaries(st.sampled_from(LEAVES), st.booleans())


@given(_trees, _facts)
def test_unknown_facts_leave_open_only_what_depends_on_them(
    tree: c.Criterion, facts: dict[c.Criterion, bool]
) -> None:
    early = decide(tree, facts.get)
    for rest in range(8):
        whole = {one: bool(rest >> bit & 1) for bit, one in enumerate(LEAVES)} | facts
        late = decide(tree, whole.get)
        assert late is not None
        if early is not None:
            assert early == late


def test_all_leaves_are_found() -> None:
    tree = c.And((LEAVES[0], c.Or((LEAVES[1], c.Not(LEAVES[2])))))
    assert list(leaves(tree)) == list(LEAVES)


def test_an_empty_text_asks_for_nothing() -> None:
    assert cheaper(c.AnyText(" ")) == c.All()
    assert cheaper(c.Not(c.Body(""))) == c.Not(c.All())
