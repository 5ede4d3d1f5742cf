"""Ends of assignments by time are written, and told to whoever watches."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.db.team_schema import message_assignments
from mailstore.folders.lock import lock_mailbox
from mailstore.teams.assignments import take
from mssante_operator.jobs.mailboxes.assignment_expiry import AssignmentExpiry
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.people.teams import ADDRESS, deliver, make_team, message_id, modseqs

HOUR = timedelta(hours=1)


def made(database: Database) -> None:
    with database.write() as conn:
        team = make_team(conn)
        deliver(conn, team.mailbox, 1, 2, folder=team.inbox)
        lock = lock_mailbox(conn, team.mailbox)
        take(lock, message_id(1), team.claire, now=NOW, until=NOW + HOUR)
        take(lock, message_id(2), team.paul, now=NOW, until=NOW + 2 * HOUR)


def left(database: Database) -> int:
    with database.read() as conn:
        query = select(func.count()).select_from(message_assignments)
        return int(conn.execute(query).scalar_one())


def test_each_end_has_its_audit_row(database: Database, tmp_path: Path) -> None:
    made(database)
    before, now = modseqs(database, message_id(1))[2], NOW
    job = AssignmentExpiry(database, AuditTrail(audit_keys(tmp_path)), lambda: now)
    assert (job.expire_all(), left(database)) == (0, 2)
    now = NOW + HOUR
    assert (job.expire_all(), job.expire_all(), left(database)) == (1, 0, 1)
    (row,) = rows(database)
    assert (row["event"], row["subject"], row["door"]) == ("message.released", "claire", "job")
    assert (row["mailbox"], row["message"]) == (ADDRESS, message_id(1))
    assert modseqs(database, message_id(1))[0] == before + 1


def test_a_clock_in_doubt_ends_nothing(database: Database, tmp_path: Path) -> None:
    made(database)
    trail = AuditTrail(audit_keys(tmp_path))
    job = AssignmentExpiry(database, trail, lambda: NOW + 9 * HOUR, in_doubt=lambda: True)
    assert (job.expire_all(), left(database)) == (0, 2)
