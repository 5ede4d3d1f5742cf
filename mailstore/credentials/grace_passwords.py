"""Shared password of a team that moves to named accounts: it opens one mailbox, for a time.

It belongs to no account, counts as one factor, and only the beginning of a move stores one
(`mailstore.rights.team_moves`). Nobody knows who typed it: its use leaves a row in the audit trail
once an hour, written by the check itself, so that no door forgets it. Without that row nobody gets
in. Blocks: asynchronous callers use a thread.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from mailstore.accounts.tenants import mailbox_tenant
from mailstore.audit.event import AuditActor, AuditEvent
from mailstore.audit.trail import AuditTrail
from mailstore.credentials.credentials import NOTED_EVERY
from mailstore.credentials.passwords import PasswordHashes
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.credentials.throttle import Throttle, account_wait
from mailstore.db.database import Database
from mailstore.db.people_schema import accounts, team_moves
from mailstore.db.schema import mailboxes
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.address import address_key

USED: Final = "team.shared_password_used"


@dataclass(frozen=True, slots=True)
class GraceLogIn:
    """Log-in by shared passwords of teams. Thread-safe.

    `throttle`: that of log-ins by password, so that both count the failures of a client. Without a
    `trail` nobody gets in.
    """

    database: Database
    hashes: PasswordHashes
    trail: AuditTrail | None
    throttle: Throttle

    def check_grace_password(
        self, mailbox: str, password: str, *, actor: AuditActor, origin: str, at: datetime
    ) -> Proof:
        """Check the shared password of a mailbox; `mailbox`: its address, as log-in name.

        `actor`: door and client, for the audit row. A wrong one costs as much as one of an unknown
        mailbox, and makes this mailbox's shared log-in wait as wrong passwords do an account.
        Raises LoginRefused; StoreUnavailable, also for too many at once.
        """
        key = _key(mailbox)
        tried = f"team {key}"  # no log-in name has a blank
        if self.throttle.must_wait(tried, origin, at):
            raise LoginRefused(Refusal.THROTTLED)
        with self.database.read() as conn:
            row = conn.execute(_SHARED, {"address": key}).one_or_none()
        right = self.hashes.matches(
            password, None if row is None else bytes(row.verifier).decode("ascii")
        )
        try:
            proof = self._prove(row, key, at, replace(actor, account=None), right=right)
        except LoginRefused:
            self.throttle.failed(tried, origin, at)
            raise
        self.throttle.succeeded(tried, origin)
        return proof

    def _prove(
        self, row: Any, address: str, at: datetime, actor: AuditActor, *, right: bool
    ) -> Proof:
        if row is None:
            raise LoginRefused(Refusal.UNKNOWN)
        if account_wait(row.failed_logins, row.failed_at, at):
            raise LoginRefused(Refusal.THROTTLED)
        if not right:
            self._count_failure(row, at)
            raise LoginRefused(Refusal.WRONG)
        if at >= row.grace_until:
            raise LoginRefused(Refusal.ENDED)
        if row.failed_logins or _is_due(row.last_used_at, at):
            self._note(row, address, at, actor)
        return Proof(
            account=None,
            factors=1,
            method=Method.GRACE,
            credential_id=None,
            mailbox_id=row.mailbox_id,
            at=at,
        )

    def _count_failure(self, row: Any, at: datetime) -> None:
        with self.database.write() as conn:
            conn.execute(
                update(team_moves)
                .where(_same(row))
                .values(failed_logins=team_moves.c.failed_logins + 1, failed_at=at)
            )

    def _note(self, row: Any, address: str, at: datetime, actor: AuditActor) -> None:
        """Forget failures, and note the use once an hour. Raises LoginRefused for an ended move."""
        if self.trail is None:
            raise StoreUnavailable("the audit trail cannot be written")
        with self.database.write() as conn:
            found = conn.execute(
                select(team_moves.c.last_used_at).where(_same(row)).with_for_update()
            ).one_or_none()
            if found is None:  # the move ended meanwhile
                raise LoginRefused(Refusal.ENDED)
            values: dict[str, object] = {"failed_logins": 0, "failed_at": None}
            if _is_due(found.last_used_at, at):
                values["last_used_at"] = at
                event = AuditEvent(
                    at=at,
                    event=USED,
                    actor=actor,
                    mailbox=address,
                    tenant=mailbox_tenant(conn, row.mailbox_id),
                    facts={"grace_until": row.grace_until},
                )
                self.trail.append(conn, [event])
            conn.execute(update(team_moves).where(_same(row)).values(values))


def opens_by_shared_password(conn: Connection, name: str) -> bool:
    """True if a log-in name is the address of a mailbox with a shared password, and no account's.

    An account of the same name goes first: the shared password must not stand in its way.
    """
    if conn.execute(_SHARED, {"address": _key(name)}).one_or_none() is None:
        return False
    login = name.strip().lower()
    return conn.scalar(select(accounts.c.id).where(accounts.c.login == login)) is None


def _key(name: str) -> str:
    """The address as compared; empty for a typed name that no database takes, as with NUL."""
    return address_key(name.strip()) if name.isprintable() else ""


def _is_due(last_used_at: datetime | None, at: datetime) -> bool:
    return last_used_at is None or last_used_at < at - NOTED_EVERY


def _same(row: Any) -> Any:
    """Condition of the move whose password was checked; none if it ended, or another began."""
    return (
        (team_moves.c.mailbox_id == row.mailbox_id)
        & (team_moves.c.begun_at == row.begun_at)
        & team_moves.c.verifier.is_not(None)
    )


# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_SHARED: Final = (
    select(team_moves)
    .join_from(team_moves, mailboxes)
    .where(
        mailboxes.c.address == bindparam("address"),
        team_moves.c.verifier.is_not(None),
        team_moves.c.ended_at.is_(None),
    )
)
