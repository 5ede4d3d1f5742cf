"""Endings of access with a mailbox: deleted, closed or suspended (DOMAIN §9.36, §9.39).

Deleting ends for good all that opens the mailbox, in the transaction of the deletion: grants,
break-glass accesses, app passwords, the team's move with its shared password. A restoration brings
none of it back: whoever restores a mailbox gives its rights anew. Closing and suspending end
nothing but sessions: `may` refuses content meanwhile, and a suspended mailbox is resumed with the
rights that it had. Functions need a connection in a write transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mailstore.accounts.changes import note_ending
from mailstore.accounts.closing import end_accesses, end_credentials, end_grants
from mailstore.accounts.departures import end_assignments
from mailstore.accounts.endings import (
    AssignmentEnded,
    CredentialEnded,
    Ending,
    GrantEnded,
    MailboxEnded,
    TeamMoveEnded,
)
from mailstore.db.people_schema import break_glass, credentials, grants
from mailstore.rights.team_moves import stop_move


@dataclass(frozen=True, slots=True)
class AccessEnded:
    """All that ended with a mailbox. `endings` are for the doors; `accesses`: break-glass."""

    endings: tuple[Ending, ...]
    accesses: int

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for the audit row and for people."""
        kinds = {
            "grants": GrantEnded,
            "credentials": CredentialEnded,
            "team_moves": TeamMoveEnded,
            "assignments": AssignmentEnded,
        }
        found = {
            name: sum(isinstance(one, kind) for one in self.endings) for name, kind in kinds.items()
        }
        return {**found, "break_glass": self.accesses}


def end_access(conn: Connection, mailbox_id: int, now: datetime) -> AccessEnded:
    """End all access to a mailbox for good."""
    ended: list[Ending] = [MailboxEnded(mailbox=mailbox_id, at=now, closed=True)]
    ended += end_grants(conn, grants.c.mailbox_id == mailbox_id, now)
    ended += end_credentials(conn, credentials.c.mailbox_id == mailbox_id, now)
    accesses = end_accesses(conn, break_glass.c.mailbox_id == mailbox_id, now)
    if stop_move(conn, mailbox_id, now):
        ended.append(TeamMoveEnded(mailbox=mailbox_id, at=now))
    ended += end_assignments(conn, ended, now)
    note_ending(conn)
    return AccessEnded(tuple(ended), accesses)


def end_sessions(conn: Connection, mailbox_id: int, now: datetime, *, closed: bool) -> MailboxEnded:
    """Tell the doors of a mailbox that was closed or suspended: their sessions with it end."""
    note_ending(conn)
    return MailboxEnded(mailbox=mailbox_id, at=now, closed=closed)
