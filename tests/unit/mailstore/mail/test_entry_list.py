r"""Lists of a mailbox's messages by facts, new mail included."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mailstore.folders.flags import Flag, FlagMode
from mailstore.mail.entry_list import (
    EntryFilter,
    count_listed,
    count_new,
    entries_of_message,
    list_newest,
)
from mailstore.sealed.address_seal import AddressSeal
from tests.support.clock import NOW
from tests.support.storage.blobs import keyring
from tests.support.storage.letters import letter, opened_letters
from tests.support.storage.mail_house import SIZE, MailHouse


def listed(house: MailHouse, wanted: EntryFilter, account_id: int | None = None) -> list[str]:
    """Message ids of a list, whose count is checked too."""
    with house.database.read() as conn:
        found = list_newest(conn, house.a, wanted, limit=100, account_id=account_id)
        assert count_listed(conn, house.a, wanted, account_id=account_id) == len(found)
    return [one.message_id for one in found]


def test_new_and_placed_mail_are_in_one_list_the_newest_first(house: MailHouse) -> None:
    old = house.deliver(2)
    view = house.view()
    inbox = view.folders()[0].id
    new = house.deliver(2)
    house.deliver(1, house.b)
    assert listed(house, EntryFilter()) == [*new[::-1], *old[::-1]]
    assert listed(house, EntryFilter(folder_ids=[inbox])) == [*new[::-1], *old[::-1]]
    assert listed(house, EntryFilter(folder_ids=[inbox], new=False)) == old[::-1]
    assert listed(house, EntryFilter(folder_ids=[], new=False)) == []
    with house.database.read() as conn:
        assert (count_new(conn, house.a), count_new(conn, house.b)) == (2, 1)
        places = [one.uid for one in list_newest(conn, house.a, limit=3)]
    assert places == [None, None, 2]


def test_pages_end_at_entries(house: MailHouse) -> None:
    ids = house.deliver(5)
    with house.database.read() as conn:
        page = list_newest(conn, house.a, limit=2)
        assert [one.message_id for one in page] == [ids[4], ids[3]]
        last = page[-1].id
        assert count_listed(conn, house.a, before=last) == 3
        rest = list_newest(conn, house.a, after=page[-1].id - 2, before=last, limit=9)
    assert [one.message_id for one in rest] == [ids[2]]


def test_flags_of_a_person_count_where_they_are_private(house: MailHouse) -> None:
    first, second = house.deliver(2)
    view = house.view()
    inbox = view.folders()[0].id
    view.set_private_seen(private=True)
    house.view(account_id=7).set_flags(inbox, [1], FlagMode.ADD, ["\\Seen", "\\Flagged"])
    unseen = EntryFilter(unseen=True)
    assert listed(house, unseen) == [second, first]
    assert listed(house, unseen, 7) == [second]
    assert listed(house, unseen, 8) == [second, first]
    assert listed(house, EntryFilter(flagged=True)) == [first]
    with house.database.read() as conn:
        own = list_newest(conn, house.a, limit=9, account_id=7)
        shared = list_newest(conn, house.a, limit=9)
    assert [one.flags for one in own] == [0, Flag.SEEN | Flag.FLAGGED]
    assert [one.flags for one in shared] == [0, Flag.FLAGGED]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EntryFilter(sender="X@B"), True),
        (EntryFilter(sender="_@b"), False),
        (EntryFilter(larger=SIZE), False),
        (EntryFilter(larger=SIZE - 1, smaller=SIZE + 1), True),
        (EntryFilter(smaller=SIZE), False),
        (EntryFilter(since=NOW, until=NOW + timedelta(seconds=1)), True),
        (EntryFilter(since=NOW + timedelta(seconds=1)), False),
        (EntryFilter(until=NOW), False),
        (EntryFilter(entry_ids=[]), False),
    ],
)
def test_facts_of_the_envelope_filter(house: MailHouse, wanted: EntryFilter, found: bool) -> None:
    (one,) = house.deliver(1)
    assert listed(house, wanted) == ([one] if found else [])


def test_entries_of_a_message_in_all_mailboxes(house: MailHouse) -> None:
    (one,) = house.deliver(1, house.a, house.b)
    house.view().folders()
    with house.database.read() as conn:
        held = entries_of_message(conn, one)
        assert entries_of_message(conn, "0" * 32) == []
    assert [(each.mailbox_id, each.entry.uid) for each in held] == [(house.a, 1), (house.b, None)]
    assert held[1].address == "b@a.mssante.fr"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("279035121518989@patient.mssante.fr", True),
        ("279035121518989@PATIENT.mssante.fr", True),
        ("@patient.mssante.fr", True),
        ("patient.mssante", True),
        ("mssante.fr", True),
        ("279035121518989", False),
        ("sealed", False),
        ("8989@patient.mssante.fr", False),
        ("279035121518988@patient.mssante.fr", False),
        ("Q", False),  # letters of the token are no letters of the address
        ("~", False),
        ("@b.mssante.fr", False),
    ],
)
def test_a_patient_is_found_by_the_whole_address_or_the_domain(
    database: Database, tmp_path: Path, text: str, *, found: bool
) -> None:
    url = database.url.render_as_string(hide_password=False)
    with (
        closing(Database(url, seal=AddressSeal(keyring(tmp_path)))) as sealed,
        opened_letters(sealed, tmp_path) as letters,
    ):
        ids = letters.deliver(letter(), sender="279035121518989@patient.mssante.fr")
        with sealed.read() as conn:
            (kept,) = conn.exec_driver_sql("SELECT sender FROM messages").scalars()
            assert kept.startswith("~sealed:")
            listed = list_newest(conn, letters.a, EntryFilter(sender=text), limit=9)
        assert [one.message_id for one in listed] == (ids if found else [])
