"""Keywords of a mailbox: names in any case, bits reused, sealed."""

import pytest
from sqlalchemy import select

from mailstore.db.folder_schema import keywords
from mailstore.errors import InvalidName, LimitReached
from mailstore.folders.flags import FlagMode
from mailstore.folders.keywords import MAX_KEYWORDS
from tests.support.storage.mail_house import MailHouse


def test_a_keyword_keeps_the_case_of_its_first_use(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    inbox = view.folders()[0].id
    view.set_flags(inbox, [1], FlagMode.ADD, ["Urgent"])
    view.set_flags(inbox, [2], FlagMode.ADD, ["URGENT"])
    assert view.keywords().names == {0: "Urgent"}
    assert {row[2] for row in view.flags(inbox)} == {1}


def test_the_bit_of_an_unused_keyword_is_given_again(house: MailHouse) -> None:
    house.deliver(2)
    view = house.view()
    inbox = view.folders()[0].id
    names = [f"k{number}" for number in range(MAX_KEYWORDS)]
    view.set_flags(inbox, [1], FlagMode.SET, names)
    with pytest.raises(LimitReached):
        view.set_flags(inbox, [2], FlagMode.ADD, ["another"])
    view.set_flags(inbox, [1], FlagMode.REMOVE, ["k5", "k62"])
    view.set_flags(inbox, [2], FlagMode.ADD, ["another"])
    found = view.changes(inbox)
    by_uid = {row[0]: found.keywords.of(row[2]) for row in found.flags}
    assert sorted(by_uid[1]) == sorted({*names} - {"k5", "k62"})
    assert by_uid[2] == ["another"]


@pytest.mark.parametrize("name", ["", "two words", "(x", 'q"', "é", "\\Custom", "k" * 101])
def test_a_name_that_is_no_atom_is_refused(house: MailHouse, name: str) -> None:
    house.deliver()
    view = house.view()
    inbox = view.folders()[0].id
    with pytest.raises(InvalidName):
        view.set_flags(inbox, [1], FlagMode.ADD, [name])


def test_no_name_is_in_clear(house: MailHouse) -> None:
    house.deliver()
    view = house.view()
    inbox = view.folders()[0].id
    view.set_flags(inbox, [1], FlagMode.ADD, ["Hepatite"])
    with house.database.read() as conn:
        (row,) = conn.execute(select(keywords.c.name, keywords.c.name_hash)).all()
    assert b"epatite" not in bytes(row.name) + bytes(row.name_hash)
