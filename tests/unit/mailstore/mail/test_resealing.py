"""Names of folders and keywords sealed anew, so that an older key can go."""

import pytest
from sqlalchemy import Table, select

from mailstore.db.folder_schema import folders, keywords
from mailstore.errors import Conflict
from mailstore.folders.flags import FlagMode
from mailstore.mail.resealing import reseal_names
from mailstore.mail.view import MailboxView, open_mailbox
from mailstore.sealed.keyring import Keyring, rotate
from mailstore.sealed.row_seal import RowSeal
from tests.support.clock import NOW
from tests.support.storage.mail_house import MailHouse, seal_of

SPECIAL = 6  # folders of every mailbox


def keys_of(house: MailHouse) -> Keyring:
    keys = seal_of(house.store).keys
    assert keys is not None
    return keys


def drop_older_keys(keys: Keyring) -> None:
    keys.refresh()
    lines = keys.path.read_text().splitlines(keepends=True)
    keys.path.write_text("".join(line for line in lines if keys.newest.id.hex() in line))


def fill(house: MailHouse) -> MailboxView:
    house.deliver(2)
    view = house.view()
    inbox = view.folders()[0].id
    suivi = view.create_folder("Suivi")
    view.create_folder("Hépatites", suivi.id)
    view.remove_folder(view.create_folder("Ancien").id)
    view.set_flags(inbox, [1], FlagMode.ADD, ["Urgent", "Lu"])
    return view


def names(view: MailboxView) -> set[str]:
    return {one.name for one in view.folders()} | set(view.keywords().names.values())


def stored(house: MailHouse, table: Table) -> list[bytes]:
    with house.database.read() as conn:
        return [bytes(one) for one in conn.scalars(select(table.c.name))]


def test_only_the_newest_key_is_needed_then(house: MailHouse) -> None:
    before = names(fill(house))
    keys = keys_of(house)
    assert reseal_names(house.database, RowSeal(keys)) == 0
    rotate(keys.path, NOW)
    assert reseal_names(house.database, RowSeal(keys)) == SPECIAL + 2 + 2
    assert reseal_names(house.database, RowSeal(keys)) == 0
    drop_older_keys(keys)
    seal = RowSeal(Keyring(keys.path))
    view = open_mailbox(house.store, house.a, seal, lambda: NOW)
    assert names(view) == before
    with pytest.raises(Conflict):
        view.create_folder("Suivi")
    inbox = view.folders()[0].id
    view.set_flags(inbox, [2], FlagMode.ADD, ["URGENT"])
    assert len(view.keywords().names) == 2


def test_what_no_key_opens_stops_no_other(house: MailHouse) -> None:
    fill(house)
    with house.database.write() as conn:
        altered = folders.update().where(folders.c.role == "inbox")
        conn.execute(altered.values(name=b"\1" + bytes(60)))
        altered = keywords.update().where(keywords.c.bit == 0)
        conn.execute(altered.values(name=b"nonsense"))
    keys = keys_of(house)
    rotate(keys.path, NOW)
    assert reseal_names(house.database, RowSeal(keys)) == SPECIAL + 2 + 2 - 2
    assert b"nonsense" in stored(house, keywords)


def test_more_rows_than_a_page(house: MailHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailstore.mail.resealing._AT_ONCE", 2)
    fill(house)
    house.view(house.b).folders()
    keys = keys_of(house)
    rotate(keys.path, NOW)
    assert reseal_names(house.database, RowSeal(keys)) == 2 * SPECIAL + 2 + 2
    newest = RowSeal(keys)
    assert all(newest.is_newest(one) for one in stored(house, folders) if one)
    assert all(newest.is_newest(one) for one in stored(house, keywords))
