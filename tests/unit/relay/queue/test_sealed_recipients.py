"""Patients' addresses in the queue: sealed in its rows, found, settled; put off without a key."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from foundation.unreadable_text import KEY_MISSING
from mailstore.db.database import Database
from mailstore.db.schema import messages, metadata, row_sealing
from mailstore.messages.messages import get_message
from mailstore.messages.row_sealing import TableSealing, sealed_tables
from mailstore.sealed.address_seal import AddressSeal
from mailstore.sealed.keyring import Keyring, make_first, rotate
from relay.queue.attempt_result import attempt_result
from relay.queue.destinations import write_health
from relay.queue.due import due_by_sender, newest
from relay.queue.leases import claim
from relay.queue.model import Claim, Traffic
from relay.queue.retry import RetryPolicy
from relay.queue.schema import delivery_recipients
from relay.queue.settlement import settle
from relay.queue_admin.filter import DeliveryFilter
from relay.queue_admin.message_search import MessageTerms, newest_messages
from relay.queue_admin.views import listing
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.delivery.queued import INS, PATIENT, Letter, put
from tests.support.storage.blobs import MADE, keyring

DOMAIN = "patient.mssante.fr"
TO_PATIENT = Letter(
    domain=DOMAIN,
    to=(PATIENT,),
    columns={"due": NOW, "envid": f"v{INS}"},
    recipient_columns={"orcpt": f"rfc822;{INS}+40{DOMAIN}", "reply": f"550 no {INS}@{DOMAIN}"},
)
FROM_PATIENT = Letter(sender=PATIENT, columns={"due": NOW})
ORDINARY = Letter(columns={"due": NOW})
HOUR = timedelta(hours=1)


def url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def sealed(database: Database, tmp_path: Path) -> Iterator[Database]:
    with closing(Database(url_of(database), seal=AddressSeal(keyring(tmp_path)))) as opened:
        yield opened


def without_key(url: str, folder: Path) -> Database:
    make_first(folder / "other", MADE)
    return Database(url, seal=AddressSeal(Keyring(folder / "other")))


def everything(database: Database) -> str:
    """All rows of all tables, as they are stored."""
    with database.read() as conn:
        return "\n".join(
            str(tuple(row))
            for table in metadata.sorted_tables
            for row in conn.execute(select(text("*")).select_from(table))
        )


def take(database: Database) -> list[Claim]:
    with database.write() as conn:
        return claim(conn, owner="n:1", now=NOW, lease=HOUR, limit=9, wait=lambda _: HOUR)


def numbers(database: Database, wanted: DeliveryFilter) -> list[int]:
    with database.read() as conn:
        return [one.id for one in listing(conn, wanted, NOW, 10)]


def test_no_row_has_a_patient_in_clear_and_each_reader_gets_it_back(sealed: Database) -> None:
    to, of, _ = put(sealed, TO_PATIENT, FROM_PATIENT, ORDINARY)
    assert INS not in everything(sealed)
    assert "claire@a.mssante.fr" in everything(sealed)  # the search finds what is in clear
    found = {one.id: one for one in take(sealed)}
    assert found[to].recipients == (PATIENT,)
    assert (found[to].envid, found[to].waiting[0].orcpt) == (
        f"v{INS}",
        f"rfc822;{INS}+40{DOMAIN}",
    )
    assert found[of].sender == PATIENT
    with sealed.read() as conn:
        assert get_message(conn, found[of].message_id).message.sender == PATIENT


def test_a_text_of_a_peer_that_looks_sealed_is_read_as_it_came(sealed: Database) -> None:
    letter = Letter(columns={"due": NOW, "envid": "~sealed:AAAA"})
    put(sealed, letter)
    (found,) = take(sealed)
    assert found.envid == "~sealed:AAAA"


@pytest.mark.parametrize("rotated", [False, True])
def test_a_patient_is_found_by_the_whole_address(
    sealed: Database, tmp_path: Path, *, rotated: bool
) -> None:
    to, of, _ = put(sealed, TO_PATIENT, FROM_PATIENT, ORDINARY)
    if rotated:
        rotate(tmp_path / "keys", MADE)
    assert numbers(sealed, DeliveryFilter(recipient=PATIENT)) == [to]
    assert numbers(sealed, DeliveryFilter(sender=PATIENT.upper())) == [of]
    assert numbers(sealed, DeliveryFilter(recipient=f"*@{DOMAIN}")) == [to]
    assert numbers(sealed, DeliveryFilter(of_domains=frozenset({DOMAIN}))) == [of]
    assert numbers(sealed, DeliveryFilter(recipient=f"285017512345678@{DOMAIN}")) == []
    terms = MessageTerms(NOW - HOUR, NOW + HOUR, address=PATIENT)
    assert len(list(newest_messages(sealed, terms))) == 2


@pytest.mark.parametrize("rotated", [False, True])
def test_a_result_is_recorded_for_a_patient_whatever_key_sealed_the_row(
    sealed: Database, tmp_path: Path, *, rotated: bool
) -> None:
    put(sealed, TO_PATIENT)
    if rotated:
        rotate(tmp_path / "keys", MADE)
    (taken,) = take(sealed)
    said = f"550 5.1.1 {INS} unknown"
    result = attempt_result(
        taken,
        {PATIENT: Outcome(State.FAILED, said)},
        error=said,
        reason=None,
        now=NOW,
        policy=RetryPolicy(),
    )
    with sealed.write() as conn:
        assert settle(conn, result) is State.FAILED
    with sealed.read() as conn:
        (row,) = conn.execute(select(delivery_recipients))
    assert (row.state, row.reply) == ("failed", "550 5.1.1 *** unknown")
    assert INS not in everything(sealed)


def test_mail_of_a_sealed_sender_is_due_like_other_mail(sealed: Database, tmp_path: Path) -> None:
    of, other = put(sealed, FROM_PATIENT, ORDINARY)
    rotate(tmp_path / "keys", MADE)
    with sealed.read() as conn:
        found = due_by_sender(
            conn, Traffic.PERSON, "b.mssante.fr", after=None, now=NOW, senders=9, limit=9
        )
        assert sorted(one.id for one in found.found) == [of, other]
        last = {one.id: one.sender for one in newest(conn, NOW, 9).found}
    assert last == {one.id: one.sender for one in found.found}  # one name for the same sender


def test_without_its_key_a_delivery_is_put_off_and_the_others_go(
    sealed: Database, database_url: str, tmp_path: Path
) -> None:
    to, of, other = put(sealed, TO_PATIENT, FROM_PATIENT, ORDINARY)
    with closing(without_key(database_url, tmp_path)) as poor:
        assert [one.id for one in take(poor)] == [other]
        with poor.read() as conn:
            seen = {one.id: one for one in listing(conn, DeliveryFilter(), NOW, 10)}
        assert seen[to].recipients == (KEY_MISSING,)
        assert seen[of].sender == KEY_MISSING
        assert [seen[one].in_flight for one in (to, of)] == [False, False]
        assert "key is missing" in seen[to].last_error
        assert [seen[one].state for one in (to, of)] == ["waiting", "waiting"]
    later = NOW + HOUR
    with sealed.write() as conn:  # the key is back
        found = claim(conn, owner="n:1", now=later, lease=HOUR, limit=9, wait=lambda _: HOUR)
    assert {to, of} <= {one.id for one in found}


def old_rows(database: Database) -> list[int]:
    """Rows as an older version wrote them."""
    return put(database, *[TO_PATIENT, FROM_PATIENT, ORDINARY] * 2)


def test_rows_from_before_are_sealed_page_by_page(
    database: Database, sealed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = old_rows(database)
    assert INS in everything(database)
    for table in sealed_tables(metadata.sorted_tables, sealed):
        table._page = table._page.limit(2)
        monkeypatch.setattr("mailstore.messages.row_sealing.PAGE", 2)
        while table.next_page(NOW).more:
            # Broken off: another process goes on behind the last page.
            table = TableSealing(table.table, sealed)  # noqa: PLW2901
            table._page = table._page.limit(2)
        assert table.finished
    assert INS not in everything(sealed)
    assert numbers(sealed, DeliveryFilter(recipient=PATIENT)) == [keys[0], keys[3]]
    with sealed.read() as conn:
        done = {row.name: row.after for row in conn.execute(select(row_sealing))}
    assert done["deliveries"] == str(keys[-1])


def test_a_row_that_changed_since_it_was_read_stays(database: Database, sealed: Database) -> None:
    put(database, TO_PATIENT)
    table = TableSealing(delivery_recipients, sealed)
    with sealed.read() as conn:
        rows = conn.execute(table._page).all()
    with sealed.write() as conn:
        conn.execute(text("UPDATE delivery_recipients SET address = 'dr@b.mssante.fr'"))
        conn.execute(text("UPDATE delivery_recipients SET orcpt = NULL, reply = ''"))
        assert table._replace(conn, rows) == 0


def test_a_rotation_seals_all_anew_but_what_it_cannot_open(
    sealed: Database, database_url: str, tmp_path: Path
) -> None:
    put(sealed, TO_PATIENT, FROM_PATIENT)
    with closing(without_key(database_url, tmp_path)) as poor:
        put(poor, Letter(sender=f"285017512345678@{DOMAIN}"))
    before = everything(sealed)
    rotate(tmp_path / "keys", MADE)
    assert sum(table.whole() for table in sealed_tables(metadata.sorted_tables, sealed)) == 5
    newest_alone = tmp_path / "newest"
    lines = (tmp_path / "keys").read_text().splitlines(keepends=True)
    newest_alone.write_text(lines[-1])
    newest_alone.chmod(0o600)
    with closing(Database(database_url, seal=AddressSeal(Keyring(newest_alone)))) as fresh:
        assert numbers(fresh, DeliveryFilter(recipient=PATIENT))
        with fresh.read() as conn:
            senders = conn.scalars(select(messages.c.sender).order_by(messages.c.id)).all()
        assert senders == ["claire@a.mssante.fr", PATIENT, KEY_MISSING]
    assert everything(sealed) != before
    assert sum(table.whole() for table in sealed_tables(metadata.sorted_tables, sealed)) == 0


@pytest.mark.parametrize("said", [f"550 {PATIENT} unknown", "421 280085912345669 refused"])
def test_what_a_peer_said_of_a_patient_is_masked_in_the_errors_of_rows(
    sealed: Database, said: str
) -> None:
    put(sealed, Letter(columns={"last_error": said}, recipient_columns={"reply": said}))
    with sealed.write() as conn:
        write_health(conn, "b.mssante.fr", failures=1, dead_until=NOW, last_error=said)
    stored = everything(sealed)
    assert INS not in stored
    assert "280085912345669" not in stored
    assert stored.count("***") == 3
