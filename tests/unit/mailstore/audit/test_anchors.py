"""Anchors in the database: one for each move of a head, and where they are."""

from datetime import timedelta
from pathlib import Path

import pytest

from mailstore.audit.anchors import last_anchor, make_anchor, mark_sent, newest_anchors
from mailstore.audit.keys import add_key, is_signed
from mailstore.audit.rotation import use_newest_key
from mailstore.audit.statement import Statement, parse_statement, text_digest
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from tests.support.audit.trails import append, audit_keys, event, rows
from tests.support.clock import NOW


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(audit_keys(tmp_path))


def anchor(database: Database, trail: AuditTrail) -> Statement | None:
    with database.write() as connection:
        return make_anchor(connection, trail.keys, NOW)


def test_an_anchor_names_all_heads_and_the_one_before(
    database: Database, trail: AuditTrail
) -> None:
    assert anchor(database, trail) is None
    append(database, trail, event(), event())
    first = anchor(database, trail)
    assert first is not None
    assert first.heads == {1: (2, rows(database)[-1]["digest"])}
    assert anchor(database, trail) is None
    append(database, trail, event())
    second = anchor(database, trail)
    assert second is not None
    assert (second.number, second.before) == (2, text_digest(first.text()))
    with database.read() as connection:
        kept = last_anchor(connection)
    assert kept is not None
    assert parse_statement(kept.statement) == second
    signed = kept.signed(trail.keys)
    assert signed.public_key == trail.keys.newest.public_key
    assert is_signed(signed.public_key, kept.statement.encode(), signed.signature)


def test_the_key_in_use_signs(database: Database, trail: AuditTrail) -> None:
    append(database, trail, event())
    first = trail.keys.newest
    second = add_key(trail.keys.path, NOW)
    anchor(database, trail)
    use_newest_key(database, trail.keys, event("audit.key_changed"))
    anchor(database, trail)
    with database.read() as connection:
        signers = [one.signed(trail.keys).public_key for one in newest_anchors(connection, 9)]
    assert signers == [second.public_key, first.public_key]


def test_places_that_have_an_anchor_are_noted(database: Database, trail: AuditTrail) -> None:
    for number in range(3):
        append(database, trail, event(at=NOW + timedelta(seconds=number)))
        anchor(database, trail)
    with database.write() as connection:
        mark_sent(connection, [1, 2], "file:/a b")
        mark_sent(connection, [2], "syslog:unix")
    with database.read() as connection:
        found = newest_anchors(connection, 9)
    assert [one.sent_to for one in found] == [(), ("file:/a b", "syslog:unix"), ("file:/a b",)]
