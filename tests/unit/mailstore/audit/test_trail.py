"""Appending: rows in the transaction of their act, chains that nobody waits for."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from mailstore.audit.chain import START, Totals, row_digest
from mailstore.audit.keys import AuditKeys, add_key
from mailstore.audit.locking import BROKEN_SEAL, begin_chain, lock_totals
from mailstore.audit.ownership import begin, has_begun, is_ours
from mailstore.audit.rotation import use_newest_key
from mailstore.audit.tables import ends_of, sealed_ends, sealed_rows, stored_row
from mailstore.audit.trail import AuditTrail
from mailstore.db.audit_schema import audit_chains, audit_rows, audit_state
from mailstore.db.database import Database
from mailstore.errors import KeyMissing
from tests.support.audit.trails import append, audit_keys, event, rows
from tests.support.clock import NOW


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(audit_keys(tmp_path))


def chains(database: Database) -> dict[int, int]:
    """Number of rows by the head of each chain."""
    with database.read() as connection:
        found = connection.execute(select(audit_chains.c.id, audit_chains.c.head_seq))
        return {one.id: one.head_seq for one in found}


def test_rows_are_linked_and_sealed(database: Database, trail: AuditTrail) -> None:
    append(database, trail, event("mailbox.added"), event("mailbox.closed"))
    append(database, trail, event("mailbox.deleted", facts={"reason": "départ"}))
    key, digest = trail.keys.newest, START
    with database.read() as connection:
        found = connection.execute(select(*sealed_rows).order_by(audit_rows.c.seq)).all()
        chain = connection.execute(select(*sealed_ends)).one()
        state = connection.execute(select(audit_state)).one()
    for seq, one in enumerate(found, 1):
        assert (one.chain, one.seq) == (1, seq)
        digest = row_digest(digest, stored_row(one))
        assert one.digest == digest
        assert one.seal == key.seal_row(digest)
    assert (chain.head_seq, chain.head_digest) == (3, digest)
    assert chain.seal == key.seal_chain(ends_of(chain))
    assert state.seal == key.seal_totals(Totals(chains=1))
    assert (state.chains, state.anchors) == (1, 0)


def test_a_row_is_there_if_and_only_if_its_act_is(database: Database, trail: AuditTrail) -> None:
    # DOMAIN §9.59: every act on a mailbox is traced.
    append(database, trail, event())
    before = rows(database), chains(database)

    def fail() -> None:
        with database.write() as connection:
            trail.append(connection, [event("mailbox.deleted")])
            raise RuntimeError("the act fails")

    with pytest.raises(RuntimeError):
        fail()
    assert (rows(database), chains(database)) == before


def test_no_event_changes_nothing(database: Database, trail: AuditTrail) -> None:
    append(database, trail)
    assert not chains(database)


def test_any_octets_in_a_name_are_stored(database: Database, trail: AuditTrail) -> None:
    odd = "a\x00b\udce9\u202e\\\r\n"
    append(database, trail, event(subject=odd, mailbox=odd, facts={"alias": odd}))
    stored = "a\\x00b\\udce9\\u202e\\\\\\r\\n"
    (row,) = rows(database)
    assert row["subject"] == row["mailbox"] == stored


def test_a_long_text_fits_its_index(database: Database, trail: AuditTrail) -> None:
    long = "".join(chr(0x4E00 + one * 7 % 20_000) for one in range(5_000))
    append(database, trail, event(mailbox=long, subject=long))
    assert len(rows(database)) == 1


def test_writers_at_once_do_not_wait_for_each_other(database: Database, trail: AuditTrail) -> None:
    if not database.several:
        pytest.skip("SQLite has a single writer")
    append(database, trail, event())
    with database.write() as first:
        trail.append(first, [event("mailbox.added")])
        with database.write() as second:
            trail.append(second, [event("mailbox.closed")])
    append(database, trail, event("mailbox.deleted"))
    assert chains(database) == {1: 3, 2: 1}


def test_first_writers_at_once_all_succeed(database: Database, trail: AuditTrail) -> None:
    together = threading.Barrier(4)

    def write() -> None:
        together.wait()
        for _ in range(5):
            append(database, trail, event())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(chains(database).values()) == 20
    with database.read() as connection:
        state = connection.execute(select(audit_state)).one()
    assert state.chains == len(chains(database)) == max(chains(database))


@pytest.mark.parametrize("change", [{"head_seq": 1}, {"head_digest": b"x" * 32}, {"seal": START}])
def test_a_chain_that_was_tampered_with_is_not_extended(
    database: Database, trail: AuditTrail, change: dict[str, object]
) -> None:
    append(database, trail, event(), event())
    with database.write() as connection:
        connection.execute(update(audit_chains).values(change))
    append(database, trail, event())
    assert [(row["chain"], row["seq"]) for row in rows(database)] == [(1, 1), (1, 2), (2, 1)]


def test_a_head_set_back_with_its_old_seal_does_not_stop_work(
    database: Database, trail: AuditTrail
) -> None:
    append(database, trail, event())
    with database.read() as connection:
        old = connection.execute(select(audit_chains)).mappings().one()
    append(database, trail, event())
    with database.write() as connection:
        connection.execute(update(audit_chains).values(dict(old)))
    append(database, trail, event())
    assert chains(database) == {1: 1, 2: 1}


@pytest.mark.parametrize("gone", [True, False])
def test_totals_that_were_tampered_with_are_not_sealed_again(
    database: Database, trail: AuditTrail, *, gone: bool
) -> None:
    append(database, trail, event())
    with database.write() as connection:
        connection.execute(delete(audit_state) if gone else update(audit_state).values(chains=0))
    with database.write() as connection:
        begin_chain(connection, lock_totals(connection, trail.keys), 0)
    append(database, trail, event())
    assert chains(database) == {1: 2, 2: 0}
    with database.read() as connection:
        state = connection.execute(select(audit_state)).one()
    assert (state.chains, state.seal) == (2, BROKEN_SEAL)


def test_a_new_key_seals_once_it_is_in_use(database: Database, trail: AuditTrail) -> None:
    append(database, trail, event())
    first, second = trail.keys.newest, add_key(trail.keys.path, NOW)
    append(database, trail, event())
    assert use_newest_key(database, trail.keys, event("audit.key_changed"))
    assert not use_newest_key(database, trail.keys, event("audit.key_changed"))
    append(database, trail, event())
    assert [row["seal"] for row in rows(database)] == [
        key.seal_row(row["digest"])
        for row, key in zip(rows(database), (first, first, second, second), strict=True)
    ]
    assert list(chains(database)) == [1]


def test_a_machine_without_the_key_in_use_writes_nothing(
    database: Database, trail: AuditTrail, tmp_path: Path
) -> None:
    copy = tmp_path / "other" / "audit-keys"
    copy.parent.mkdir()
    copy.write_bytes(trail.keys.path.read_bytes())
    copy.chmod(0o600)
    other = AuditTrail(AuditKeys(copy))
    append(database, trail, event())
    add_key(trail.keys.path, NOW)
    use_newest_key(database, trail.keys, event("audit.key_changed"))
    before = rows(database)
    with pytest.raises(KeyMissing, match="copy it from another machine"):
        append(database, other, event())
    assert rows(database) == before
    copy.write_bytes(trail.keys.path.read_bytes())
    append(database, other, event())
    assert list(chains(database)) == [1]


def test_keys_of_another_store_are_told(
    database: Database, trail: AuditTrail, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    others = audit_keys(tmp_path / "elsewhere")
    assert not has_begun(database)
    assert is_ours(database, others)
    begin(database, trail.keys)
    assert has_begun(database)
    assert not is_ours(database, others)
    with pytest.raises(KeyMissing):
        begin(database, others)
    append(database, trail, event())
    assert is_ours(database, trail.keys)
    assert not is_ours(database, others)
    with database.write() as connection:
        connection.execute(update(audit_chains).values(seal=START))
    assert is_ours(database, trail.keys)


def test_a_row_that_exists_is_never_written_over(database: Database, trail: AuditTrail) -> None:
    append(database, trail, event())
    (row,) = rows(database)
    with database.write() as connection:
        connection.execute(insert(audit_rows), [{**row, "seq": 2}])
    append(database, trail, event())
    assert chains(database) == {1: 1, 2: 1}


def test_an_address_is_kept_as_it_is_compared(database: Database, trail: AuditTrail) -> None:
    """DOMAIN §9.59: whoever types an address in another way must not hide the act from a search."""
    for typed in ("Unité@CHU.mssante.fr", "unite\u0301@chu.mssante.fr"):
        append(database, trail, event(mailbox=typed))
    assert [row["mailbox"] for row in rows(database)] == ["unité@chu.mssante.fr"] * 2
