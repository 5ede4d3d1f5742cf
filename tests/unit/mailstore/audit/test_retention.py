"""Retention: old rows go from the start of a chain, traced, and the rest still verifies."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from mailstore.audit import retention
from mailstore.audit.anchors import make_anchor, newest_anchors
from mailstore.audit.event import JOB_ACTOR
from mailstore.audit.retention import Pruned, prune
from mailstore.audit.statement import parse_statement
from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.findings import Checked
from mailstore.audit_reading.verify import verify
from mailstore.db.audit_schema import audit_anchors, audit_chains, audit_rows
from mailstore.db.database import Database
from tests.support.audit.tampering import rewrite
from tests.support.audit.trails import append, audit_keys, event, rows
from tests.support.clock import NOW

DAY = timedelta(days=1)


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> AuditTrail:
    """Ten rows, a day apart, the newest of NOW."""
    made = AuditTrail(audit_keys(tmp_path))
    for age in range(9, -1, -1):
        append(database, made, event(at=NOW - age * DAY))
    return made


def anchor(database: Database, trail: AuditTrail) -> None:
    with database.write() as connection:
        assert make_anchor(connection, trail.keys, NOW)


def pruned(database: Database, trail: AuditTrail, days: int) -> list[Pruned]:
    return list(prune(database, trail.keys, NOW - days * DAY, lambda: NOW, JOB_ACTOR))


def findings(database: Database, trail: AuditTrail) -> list[str]:
    return [str(one) for one in verify(database, trail.keys, Checked())]


def test_old_rows_go_and_leave_a_trace(database: Database, trail: AuditTrail) -> None:
    # DOMAIN §9.60: traces are kept at least six months, and their removal is itself traced.
    anchor(database, trail)
    assert pruned(database, trail, 4) == [Pruned(1, 5)]
    found = rows(database)
    assert [row["seq"] for row in found] == [6, 7, 8, 9, 10, 11]
    assert found[-1]["event"] == "audit.pruned"
    assert found[-1]["door"] == "job"
    assert '"rows":5,"through":5' in found[-1]["facts"]
    assert findings(database, trail) == []
    assert pruned(database, trail, 4) == []
    append(database, trail, event())
    anchor(database, trail)
    assert findings(database, trail) == []


def test_no_row_goes_that_no_anchor_covers(database: Database, trail: AuditTrail) -> None:
    assert pruned(database, trail, 4) == []
    assert len(rows(database)) == 10
    anchor(database, trail)
    append(database, trail, event(at=NOW - 30 * DAY))
    assert pruned(database, trail, 0) == [Pruned(1, 9)]
    assert [row["seq"] for row in rows(database)] == [10, 11, 12]


def test_a_row_behind_a_newer_one_waits_for_it(database: Database, trail: AuditTrail) -> None:
    # A clock that was set back must not open a gap in the chain.
    append(database, trail, event(at=NOW - 9 * DAY))
    anchor(database, trail)
    assert pruned(database, trail, 4) == [Pruned(1, 5)]
    assert findings(database, trail) == []


def test_batches(database: Database, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    anchor(database, trail)
    assert pruned(database, trail, 4) == [Pruned(1, 2), Pruned(1, 2), Pruned(1, 1)]
    assert findings(database, trail) == []


def test_evidence_of_tampering_stays(database: Database, trail: AuditTrail) -> None:
    anchor(database, trail)
    with database.write() as connection:
        connection.execute(update(audit_rows).where(audit_rows.c.seq == 3).values(account="dr.z"))
    before = findings(database, trail)
    assert pruned(database, trail, 4) == [Pruned(1, 2, "row 3 is not as it was written")]
    assert findings(database, trail) == before
    assert pruned(database, trail, 4) == [Pruned(1, 0, "row 3 is not as it was written")]


def test_rows_of_a_forged_digest_stay(database: Database, trail: AuditTrail) -> None:
    """Whoever has SQL alone can compute digests, but no seals: these are the evidence."""
    anchor(database, trail)
    with database.write() as connection:
        head = select(audit_chains.c.head_digest).scalar_subquery()
        before = connection.scalar(select(head))
        rewrite(connection, 3, None)
        connection.execute(update(audit_chains).values(head_digest=before))  # as it was sealed
    found = [one for one in findings(database, trail) if "seal is wrong" in one]
    assert len(found) == 8
    assert pruned(database, trail, 4) == [Pruned(1, 2, "row 3 is not as it was written")]
    assert [one for one in findings(database, trail) if "seal is wrong" in one] == found


def test_only_a_genuine_anchor_covers_rows(database: Database, trail: AuditTrail) -> None:
    anchor(database, trail)
    append(database, trail, event(at=NOW - 30 * DAY))
    with database.write() as connection:
        (kept,) = newest_anchors(connection, 1)
        forged = replace(parse_statement(kept.statement), number=2, heads={1: (99, bytes(32))})
        values = {"number": 2, "at": NOW, "statement": forged.text(), "signature": kept.signature}
        connection.execute(insert(audit_anchors).values(values))
    assert pruned(database, trail, -1) == [Pruned(1, 10)]
