"""Moves of ORG and CAB mailboxes from one shared log-in to named accounts, with a time of grace.

Until the grace ends, the team's shared password still opens the mailbox, if the move was begun with
it (`mailstore.credentials.grace_passwords`); a report names the members who have not logged in by
themselves since the move began. Functions take a connection in a transaction; functions that write
need `Database.write()`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, delete, insert, or_, select, update

from mailstore.accounts.changes import note_ending
from mailstore.accounts.endings import TeamMoveEnded
from mailstore.db.people_schema import accounts, grants, group_members, team_moves
from mailstore.db.schema import domains, mailboxes
from mailstore.errors import Conflict, InvalidState, NotFound
from mailstore.mailboxes.lifecycle import lock_for_rights

LONGEST_GRACE: Final = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class TeamMove:
    """A move; `ended_at`: None while it goes on.

    `shared`: whether a shared password opens the mailbox until the grace ends; `last_used_at`: its
    last use, noted once an hour.
    """

    mailbox_id: int
    mailbox: str
    tenant_id: int
    begun_at: datetime
    grace_until: datetime
    ended_at: datetime | None
    shared: bool
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Absent:
    """A member who has not logged in since the move began."""

    login: str
    family_name: str
    given_name: str
    last_login_at: datetime | None


def begin_move(
    conn: Connection,
    mailbox_id: int,
    now: datetime,
    grace_until: datetime,
    verifier: str | None = None,
) -> TeamMove:
    """Begin a move, or begin an ended one anew.

    `verifier`: hash of the team's shared password; None: there is none, and only accounts log in.
    Raises Conflict for a move that goes on; InvalidState for a grace of more than 92 days, or a
    deleted mailbox.
    """
    if not now < grace_until <= now + LONGEST_GRACE:
        raise InvalidState(f"the time of grace ends within {LONGEST_GRACE.days} days")
    lock_for_rights(conn, mailbox_id)
    row = conn.execute(
        select(team_moves.c.ended_at).where(team_moves.c.mailbox_id == mailbox_id)
    ).one_or_none()
    if row is not None and row.ended_at is None:
        raise Conflict("the team's move goes on already")
    conn.execute(delete(team_moves).where(team_moves.c.mailbox_id == mailbox_id))
    conn.execute(
        insert(team_moves).values(
            mailbox_id=mailbox_id,
            begun_at=now,
            grace_until=grace_until,
            verifier=None if verifier is None else verifier.encode("ascii"),
        )
    )
    return get_move(conn, mailbox_id)


def end_move(
    conn: Connection, mailbox_id: int, now: datetime
) -> tuple[TeamMove, TeamMoveEnded | None]:
    """End a move: the shared password opens nothing any more, and is erased.

    Returns it, and the ending for the doors. Raises NotFound, InvalidState.
    """
    if get_move(conn, mailbox_id).ended_at is not None:
        raise InvalidState("the team's move has ended already")
    ended = stop_move(conn, mailbox_id, now)
    note_ending(conn)
    return get_move(conn, mailbox_id), ended


def stop_move(conn: Connection, mailbox_id: int, now: datetime) -> TeamMoveEnded | None:
    """End the move of a mailbox if one goes on. The caller tells the doors (`note_ending`)."""
    stopped = conn.execute(
        update(team_moves)
        .where(team_moves.c.mailbox_id == mailbox_id, team_moves.c.ended_at.is_(None))
        .values(ended_at=now, verifier=None)
    )
    return TeamMoveEnded(mailbox=mailbox_id, at=now) if stopped.rowcount else None


def erase_outdated(conn: Connection, now: datetime) -> Sequence[TeamMove]:
    """Erase shared passwords whose grace is over; returns their moves, which go on."""
    over = (team_moves.c.verifier.is_not(None), team_moves.c.grace_until <= now)
    erased = conn.scalars(
        update(team_moves).where(*over).values(verifier=None).returning(team_moves.c.mailbox_id)
    ).all()
    if erased:
        note_ending(conn)
    return [get_move(conn, one) for one in sorted(erased)]


def get_move(conn: Connection, mailbox_id: int) -> TeamMove:
    """Find the move of a mailbox. Raises NotFound."""
    row = conn.execute(_rows().where(team_moves.c.mailbox_id == mailbox_id)).one_or_none()
    if row is None:
        raise NotFound("no team moves to named accounts in this mailbox")
    return _move(row)


def absent_members(conn: Connection, move: TeamMove, now: datetime) -> list[Absent]:
    """List the members by grant or group who have not logged in since the move began.

    Only the log-in of their own account counts: nobody knows who typed the shared password.
    """
    in_force = or_(grants.c.ends_at.is_(None), grants.c.ends_at > now)
    own = select(grants.c.account_id).where(
        grants.c.mailbox_id == move.mailbox_id, grants.c.account_id.is_not(None), in_force
    )
    of_groups = (
        select(group_members.c.account_id)
        .join_from(grants, group_members, group_members.c.group_id == grants.c.group_id)
        .where(grants.c.mailbox_id == move.mailbox_id, in_force)
    )
    rows = conn.execute(
        select(accounts)
        .where(
            accounts.c.id.in_(own.union(of_groups)),
            accounts.c.kind == "person",
            accounts.c.state != "closed",
            or_(accounts.c.last_login_at.is_(None), accounts.c.last_login_at < move.begun_at),
        )
        .order_by(accounts.c.login)
    )
    return [Absent(one.login, one.family_name, one.given_name, one.last_login_at) for one in rows]


def _rows() -> Select[Any]:
    return (
        select(team_moves, mailboxes.c.address, domains.c.tenant_id)
        .join_from(team_moves, mailboxes)
        .join(domains, domains.c.id == mailboxes.c.domain_id)
    )


def _move(row: Row[Any]) -> TeamMove:
    return TeamMove(
        mailbox_id=row.mailbox_id,
        mailbox=row.address,
        tenant_id=row.tenant_id,
        begun_at=row.begun_at,
        grace_until=row.grace_until,
        ended_at=row.ended_at,
        shared=row.verifier is not None,
        last_used_at=row.last_used_at,
    )
