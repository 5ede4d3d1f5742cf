"""Moves of ORG mailboxes from one shared log-in to named accounts, with a time of grace.

Until the grace ends, the shared password of the move still opens the mailbox (`Method.GRACE`);
a report names the members who have not logged in since the move began.
Functions take a connection in a transaction; functions that write need `Database.write()`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert, or_, select, update

from mailstore.accounts.changes import note_ending
from mailstore.db.people_schema import accounts, grants, group_members, team_moves
from mailstore.db.schema import mailboxes
from mailstore.errors import Conflict, InvalidState, NotFound

LONGEST_GRACE: Final = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class TeamMove:
    """A move; `ended_at`: None while it goes on."""

    mailbox_id: int
    mailbox: str
    begun_at: datetime
    grace_until: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Absent:
    """A member who has not logged in since the move began."""

    login: str
    family_name: str
    given_name: str
    last_login_at: datetime | None


def begin_move(conn: Connection, mailbox_id: int, now: datetime, grace_until: datetime) -> TeamMove:
    """Begin a move, or begin an ended one anew.

    Raises Conflict for a move that goes on; InvalidState for a grace of more than 92 days.
    """
    if not now < grace_until <= now + LONGEST_GRACE:
        raise InvalidState(f"the time of grace ends within {LONGEST_GRACE.days} days")
    row = conn.execute(
        select(team_moves.c.ended_at).where(team_moves.c.mailbox_id == mailbox_id)
    ).one_or_none()
    if row is not None and row.ended_at is None:
        raise Conflict("the team's move goes on already")
    conn.execute(delete(team_moves).where(team_moves.c.mailbox_id == mailbox_id))
    conn.execute(
        insert(team_moves).values(mailbox_id=mailbox_id, begun_at=now, grace_until=grace_until)
    )
    return get_move(conn, mailbox_id)


def end_move(conn: Connection, mailbox_id: int, now: datetime) -> TeamMove:
    """End a move: the shared password opens nothing any more. Raises NotFound, InvalidState."""
    if get_move(conn, mailbox_id).ended_at is not None:
        raise InvalidState("the team's move has ended already")
    conn.execute(
        update(team_moves).where(team_moves.c.mailbox_id == mailbox_id).values(ended_at=now)
    )
    note_ending(conn)
    return get_move(conn, mailbox_id)


def get_move(conn: Connection, mailbox_id: int) -> TeamMove:
    """Find the move of a mailbox. Raises NotFound."""
    row = conn.execute(
        select(team_moves, mailboxes.c.address)
        .join_from(team_moves, mailboxes)
        .where(team_moves.c.mailbox_id == mailbox_id)
    ).one_or_none()
    if row is None:
        raise NotFound("no team moves to named accounts in this mailbox")
    return TeamMove(row.mailbox_id, row.address, row.begun_at, row.grace_until, row.ended_at)


def absent_members(conn: Connection, move: TeamMove, now: datetime) -> list[Absent]:
    """List the members by grant or group who have not logged in since the move began."""
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
