"""New mail is found by its partial index, whichever index was made last."""

import pytest
from sqlalchemy import Connection, select, text

from mailstore.folders import place
from mailstore.mail.entry_list import count_new
from mailstore.mailboxes.usage import domain_octets, used_by_mailbox, used_octets
from mailstore.teams.counters import count_states, oldest_open
from tests.support.db.plans import explained
from tests.support.storage.mail_house import MailHouse

FULL = "ix_entries_mailbox_id_id"


def make_again(conn: Connection) -> None:
    """The index on all entries becomes the one made last."""
    made = conn.scalar(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": FULL})
    conn.execute(text(f"DROP INDEX {FULL}"))
    conn.execute(text(str(made)))


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_new_mail_is_found_by_its_own_index(house: MailHouse, last: bool, analyzed: bool) -> None:
    house.deliver(50)
    house.deliver(50, house.b)
    with house.database.write() as conn:
        if last:
            make_again(conn)
        if analyzed:  # while all is new: figures that are wrong later
            conn.execute(text("ANALYZE"))
    house.view().look()
    with house.database.read() as conn, explained(conn) as plans:
        conn.execute(select(place._BATCH), {"mailbox": house.a, "most": 10})
        place.has_new(conn, house.a)
        used_octets(conn, house.a)
        used_by_mailbox(conn, [house.a, house.b])
        domain_octets(conn, 1)
        count_new(conn, house.a)
        count_states(conn, house.a, house.now)
        oldest_open(conn, house.a, house.now)
    found = "\n".join(plans)
    assert found.count("ix_entries_not_placed") == 8, found
    assert FULL not in found
