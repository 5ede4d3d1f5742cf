import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.fields.addresses import read_addresses
from mailstore.summaries.limits import MAX_ADDRESSES, TooMuch


def shown(value: str) -> list[tuple[str, str | None, str | None]]:
    return [(one.name, one.mailbox, one.host) for one in read_addresses(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        ("a@b.fr", [("", "a", "b.fr")]),
        ("<a@b.fr>", [("", "a", "b.fr")]),
        ("Dr A <a@b.fr>, c@d.fr", [("Dr A", "a", "b.fr"), ("", "c", "d.fr")]),
        ('"Dupont, Jean" <a@b.fr>', [("Dupont, Jean", "a", "b.fr")]),
        (r'"A \"B\" C" <a@b.fr>', [('A "B" C', "a", "b.fr")]),
        ("=?utf-8?q?Ren=C3=A9e?= D <a@b.fr>", [("Renée D", "a", "b.fr")]),
        ('"=?utf-8?q?Ren=C3=A9e?=" <a@b.fr>', [("Renée", "a", "b.fr")]),
        ("a@b.fr (Jean (le) Bon)", [("Jean (le) Bon", "a", "b.fr")]),
        # RFC 5322 Appendix A.1.2, A.5, A.6.1, A.6.3
        ("<boss@nil.test>", [("", "boss", "nil.test")]),
        (
            '"Joe Q. Public" <john.q.public@example.com>',
            [("Joe Q. Public", "john.q.public", "example.com")],
        ),
        (
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            [("Pete", "pete(his account)", "silly.test(his host)")],
        ),
        ("Joe <@node.test,@b:mary@example.net>", [("Joe", "mary", "example.net")]),
        ("john . doe @ example . com", [("", "john.doe", "example.com")]),
        # Groups
        (
            "A Group:Ed <e@x.fr>,j@y.fr;",
            [
                ("", "A Group", None),
                ("Ed", "e", "x.fr"),
                ("", "j", "y.fr"),
                ("", None, None),
            ],
        ),
        ("Undisclosed recipients:;", [("", "Undisclosed recipients", None), ("", None, None)]),
        ("G: a@b.fr", [("", "G", None), ("", "a", "b.fr"), ("", None, None)]),
        # Faulty, but seen
        ("a@b.fr; c@d.fr", [("", "a", "b.fr"), ("", "c", "d.fr")]),
        (", ,a@b.fr,,", [("", "a", "b.fr")]),
        ("Jean", [("", "Jean", "")]),
        ("Jean <>", [("Jean", "", "")]),
        ('"unclosed <a@b.fr>', [("", '"unclosed <a', "b.fr>")]),
        ("A <a@b.fr", [("A", "a", "b.fr")]),
        ("A (never closed <a@b.fr>", [("never closed <a@b.fr>", "A", "")]),
        ('"a b"@c.fr', [("", "a b", "c.fr")]),
        ("é@hôpital.fr", [("", "é", "hôpital.fr")]),
    ],
)
def test_addresses_are_read(value: str, expected: list[tuple[str, str | None, str | None]]) -> None:
    assert shown(value) == expected


def test_a_name_as_written_is_kept_when_it_differs() -> None:
    (one, other) = read_addresses("=?utf-8?q?Ren=C3=A9e?= <a@b.fr>, Jean <c@d.fr>")
    assert one.written == "=?utf-8?q?Ren=C3=A9e?="
    assert not other.written
    assert one.spec == "a@b.fr"


def test_more_addresses_than_the_limit_are_too_much() -> None:
    with pytest.raises(TooMuch):
        read_addresses("a@b.fr," * (MAX_ADDRESSES + 1))


@given(st.text(alphabet='a@.,;:<>()"\\ é', max_size=200))
def test_any_text_gives_addresses_without_an_error(value: str) -> None:
    read_addresses(value)


@given(st.lists(st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.fr", fullmatch=True), max_size=20))
def test_plain_addresses_come_back(addresses: list[str]) -> None:
    assert [one.spec for one in read_addresses(", ".join(addresses))] == addresses
