"""Search, newest first and page by page, and the export that an outsider recomputes."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailstore.audit.anchors import make_anchor
from mailstore.audit.event import AuditActor, Door, Result
from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.export import export
from mailstore.audit_reading.search import AuditFilter, FoundRow, get_row, search
from mailstore.db.database import Database
from mailstore.errors import MailstoreError
from tests.support.audit.trails import append, audit_keys, event
from tests.support.clock import NOW

MINUTE = timedelta(minutes=1)


@pytest.fixture
def filled(database: Database, tmp_path: Path) -> Database:
    trail = AuditTrail(audit_keys(tmp_path))
    other = AuditActor(account="dr.b", unix_user=None, door=Door.IMAP, origin="192.0.2.1")
    append(database, trail, event("mailbox.added", mailbox="a@x.fr", tenant=2))
    append(database, trail, event("mailbox.closed", at=NOW + MINUTE, mailbox="a@x.fr"))
    append(database, trail, event("account.closed", at=NOW + 2 * MINUTE, subject="dr.b"))
    append(database, trail, event("message.read", at=NOW + 3 * MINUTE, actor=other))
    refused = event("message.read", at=NOW + 3 * MINUTE, message="a" * 32, result=Result.REFUSED)
    append(database, trail, refused)
    append(database, trail, event("mailboxes.counted", at=NOW + 4 * MINUTE, subject="a\x00"))
    with database.write() as connection:
        make_anchor(connection, trail.keys, NOW)
    return database


def found(database: Database, limit: int = 99, **wanted: Any) -> list[int]:
    with database.read() as connection:
        return [one.seq for one in search(connection, AuditFilter(**wanted), limit=limit)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"account": "dr.a"}, [6, 5, 3, 2, 1]),
        ({"account": "dr.b"}, [4]),
        ({"unix_user": "root"}, [6, 5, 3, 2, 1]),
        ({"concerns": "dr.b"}, [4, 3]),
        ({"subject": "a\x00"}, [6]),
        ({"mailbox": "a@x.fr"}, [2, 1]),
        ({"domains": frozenset({"x.fr"})}, [2, 1]),
        ({"domains": frozenset({"x.fr"}), "tenant_id": 2}, [1]),
        ({"domains": frozenset({"fr"})}, []),
        ({"message": "a" * 32}, [5]),
        ({"event": "mailbox.closed"}, [2]),
        ({"event": "mailbox"}, [2, 1]),
        ({"event": "mail%"}, []),
        ({"result": "refused"}, [5]),
        ({"tenant_id": 2}, [1]),
        ({"since": NOW + 3 * MINUTE}, [6, 5, 4]),
        ({"until": NOW + MINUTE}, [1]),
        ({"account": "dr.a", "event": "message", "since": NOW}, [5]),
        ({"account": "nobody"}, []),
    ],
)
def test_filters(filled: Database, wanted: dict[str, Any], expected: list[int]) -> None:
    assert found(filled, **wanted) == expected


def test_pages_follow_each_other(filled: Database) -> None:
    after, seen = None, list[int]()
    while True:
        with filled.read() as connection:
            page = search(connection, AuditFilter(), limit=2, after=after)
        if not page:
            break
        seen += [one.seq for one in page]
        after = page[-1].cursor
    assert seen == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("cursor", ["", "1.2", "a.b.c", "1.2.3.4", f"{10**18}.1.1"])
def test_a_malformed_cursor_is_refused(filled: Database, cursor: str) -> None:
    with filled.read() as connection, pytest.raises(ValueError, match=r"."):
        search(connection, AuditFilter(), limit=2, after=cursor)


def test_pages_of_what_concerns_an_account_follow_each_other(filled: Database) -> None:
    with filled.read() as connection:
        (first,) = search(connection, AuditFilter(concerns="dr.b"), limit=1)
        (second,) = search(connection, AuditFilter(concerns="dr.b"), limit=1, after=first.cursor)
    assert (first.seq, second.seq) == (4, 3)


@pytest.mark.parametrize("change", ["facts = '{'", "at = 'noon'", "account = CAST(x'ff' AS TEXT)"])
def test_a_malformed_row_is_told(filled: Database, change: str) -> None:
    if filled.several and "facts" not in change:
        pytest.skip("PostgreSQL refuses it")
    with filled.write() as connection:
        connection.execute(text(f"UPDATE audit_rows SET {change} WHERE seq = 3"))  # noqa: S608 - above
    with filled.read() as connection:
        with pytest.raises(MailstoreError, match="mssante audit verify"):
            search(connection, AuditFilter(), limit=9)
        assert len(search(connection, AuditFilter(mailbox="a@x.fr"), limit=9)) == 2


def test_a_row_by_its_place(filled: Database) -> None:
    # DOMAIN §9.59: who, when, what, and the failure.
    with filled.read() as connection:
        row = get_row(connection, 1, 5)
        assert get_row(connection, 1, 7) is None
    assert isinstance(row, FoundRow)
    assert (row.event, row.result, row.message) == ("message.read", "refused", "a" * 32)


def recompute(lines: list[dict[str, Any]]) -> int:
    """Check of an export as docs/audit.md describes it, without any code of ours."""
    names = (
        *("chain", "seq", "at", "event", "result", "tenant_id", "account", "unix_user"),
        *("door", "origin", "mailbox", "message", "subject", "facts"),
    )
    digest, head, count = b"", "", 0
    for line in lines:
        if line["kind"] == "chain":
            digest, head = bytes.fromhex(line["floor_digest"]), line["head_digest"]
        elif line["kind"] == "row":
            form = b"\x01"
            for name in names:
                value = line[name]
                if value is None:
                    form += b"\x00"
                elif isinstance(value, int):
                    form += b"\x01" + value.to_bytes(8, "big", signed=True)
                else:
                    octets = value.encode()
                    form += b"\x02" + len(octets).to_bytes(4, "big") + octets
            digest = hashlib.sha256(digest + form).digest()
            assert line["digest"] == digest.hex()
            count += 1
    assert digest.hex() == head
    return count


def test_an_outsider_recomputes_the_export(filled: Database) -> None:
    lines = [json.loads(json.dumps(one)) for one in export(filled)]
    assert [one["kind"] for one in lines] == ["totals", "chain", *["row"] * 6, "anchor"]
    assert recompute(lines) == 6
    (statement,) = [json.loads(one["statement"]) for one in lines if one["kind"] == "anchor"]
    assert statement["heads"] == {"1": [6, lines[1]["head_digest"]]}
    lines[4]["account"] = "dr.z"
    with pytest.raises(AssertionError):
        recompute(lines)
