"""Log-in of accounts and teams, as the doors use it: checks, waits, and the note of each use.

A password is hashed outside of any transaction. Whatever is wrong, a log-in costs one hash and has
the same answer; the reason is for the audit trail. Blocks: asynchronous callers use a thread.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, select, update

from foundation.best_effort import best_effort
from mailstore.accounts.kinds import AccountState
from mailstore.accounts.names import login_key
from mailstore.audit.event import AuditActor
from mailstore.audit.trail import AuditTrail
from mailstore.credentials.app_password_form import AppPassword
from mailstore.credentials.app_passwords import AppPasswordPolicy, check_app_password
from mailstore.credentials.credentials import CredentialKind, note_use, use_is_due
from mailstore.credentials.grace_passwords import GraceLogIn
from mailstore.credentials.passwords import PasswordHashes
from mailstore.credentials.proof import LoginRefused, Method, Proof, Refusal
from mailstore.credentials.recovery_codes import use_recovery_code
from mailstore.credentials.throttle import Throttle, account_wait
from mailstore.credentials.totp import accepted_step, open_secret, parse_code, take_step
from mailstore.db.database import Database
from mailstore.db.people_schema import accounts, credentials
from mailstore.errors import SealBroken
from mailstore.sealed.keyring import Keyring


@dataclass(frozen=True, slots=True)
class _Known:
    """An account and the hash of its password, as of the start of a log-in."""

    id: int
    active: bool
    failures: int
    waits: bool
    password_id: int
    verifier: str
    has_totp: bool


class LogIn:
    """Log-in by passwords, codes, app passwords and shared passwords of teams. Thread-safe."""

    def __init__(
        self,
        database: Database,
        keys: Keyring,
        hashes: PasswordHashes,
        policy: AppPasswordPolicy,
        trail: AuditTrail | None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._hashes = hashes
        self._policy = policy
        self._throttle = Throttle()
        self._clients = Throttle(origin_failures=math.inf)
        self._teams = GraceLogIn(database, hashes, trail, self._throttle)

    def with_password(
        self, login: str, password: str, code: str | None, *, origin: str, at: datetime
    ) -> Proof:
        """Check a password, and a code of the authenticator app or a recovery code.

        `origin`: address of the client. Without a code the proof has one factor; an account with
        TOTP needs one. Raises LoginRefused; StoreUnavailable, also for too many at once.
        """
        name = login_key(login)
        if self._throttle.must_wait(name, origin, at):
            raise LoginRefused(Refusal.THROTTLED)
        with self._database.read() as conn:
            known = _find(conn, name, at)
        right = self._hashes.matches(password, None if known is None else known.verifier)
        # Read again: the hash took its time and may have waited for its turn. Meanwhile the account
        # may have ended, or others may have tried: else as many tries are free as come at once.
        with self._database.read() as conn:
            now = _find(conn, name, at)
        same = known is not None and now is not None and known.password_id == now.password_id
        try:
            proof = self._prove(now, code, at, right=right and same)
        except LoginRefused as refused:
            if refused.reason is not Refusal.NEEDS_CODE:
                self._throttle.failed(name, origin, at)
            raise
        self._throttle.succeeded(name, origin)
        if known is not None and self._hashes.outdated(known.verifier):
            self._rehash(known, self._hashes.hash(password))
        return proof

    def with_app_password(
        self, text: str, *, mailbox_id: int, protocol: str, origin: str, at: datetime
    ) -> Proof:
        """Check an app password for a mailbox and a protocol. Raises LoginRefused, KeyMissing.

        Nobody guesses 160 random bits, so that no account waits: only a client that tries the same
        wrong one again and again at this mailbox, and not its colleagues behind the same address.
        """
        parsed = AppPassword.parse(text)
        tried = f"{mailbox_id} {parsed.lookup if parsed else ''}"
        if self._clients.must_wait(tried, origin, at):
            raise LoginRefused(Refusal.THROTTLED)
        try:
            with self._database.read() as conn:
                proof = check_app_password(
                    conn,
                    text,
                    mailbox_id=mailbox_id,
                    protocol=protocol,
                    policy=self._policy,
                    keys=self._keys,
                    at=at,
                )
        except LoginRefused:
            self._clients.failed(tried, origin, at)
            raise
        self._clients.succeeded(tried, origin)
        return proof

    def with_grace_password(
        self, mailbox: str, password: str, *, actor: AuditActor, origin: str, at: datetime
    ) -> Proof:
        """Check the shared password of a team that moves (`GraceLogIn.check_grace_password`)."""
        return self._teams.check_grace_password(
            mailbox, password, actor=actor, origin=origin, at=at
        )

    def note(self, proof: Proof, mailbox_id: int | None) -> None:
        """Note that a door let the proof in, and opened a mailbox; a write once an hour for each.

        Blocks, beside the session: a note that fails is logged, and stops nobody.
        """
        with best_effort:
            with self._database.read() as conn:
                due = use_is_due(conn, proof, mailbox_id)
            if due:
                with self._database.write() as conn:
                    note_use(conn, proof, mailbox_id)

    def _prove(self, known: _Known | None, code: str | None, at: datetime, *, right: bool) -> Proof:
        if known is None:
            raise LoginRefused(Refusal.UNKNOWN)
        if known.waits:
            raise LoginRefused(Refusal.THROTTLED, known.id)
        if not right:
            with self._database.write() as conn:
                _count_failure(conn, known.id, at)
            raise LoginRefused(Refusal.WRONG, known.id)
        if not known.active:
            raise LoginRefused(Refusal.ACCOUNT_STATE, known.id)
        if code is None:
            if known.has_totp:
                raise LoginRefused(Refusal.NEEDS_CODE, known.id)
            if known.failures:
                with self._database.write() as conn:
                    _forget_failures(conn, known.id)
            return _proof(known, None, at)
        second = self._take_code(known, code, at)
        if second is None:
            raise LoginRefused(Refusal.WRONG, known.id)
        return _proof(known, second, at)

    def _take_code(self, known: _Known, code: str, at: datetime) -> int | None:
        """Use up a code, and return the credential's number; None if it is wrong, which counts.

        In one transaction with the account locked: codes that come at once are tried one by one.
        """
        with self._database.write() as conn:
            columns = accounts.c.state, accounts.c.failed_logins, accounts.c.failed_at
            row = conn.execute(
                select(*columns).where(accounts.c.id == known.id).with_for_update()
            ).one()
            if row.state != AccountState.ACTIVE:
                raise LoginRefused(Refusal.ACCOUNT_STATE, known.id)
            if account_wait(row.failed_logins, row.failed_at, at):
                raise LoginRefused(Refusal.THROTTLED, known.id)
            try:
                second = self._matching(conn, known, code, at)
            except SealBroken:
                raise LoginRefused(Refusal.ALTERED, known.id) from None
            if second is None:
                _count_failure(conn, known.id, at)
            else:
                _forget_failures(conn, known.id)
            return second

    def _matching(self, conn: Connection, known: _Known, code: str, at: datetime) -> int | None:
        if parse_code(code) is None:
            return use_recovery_code(conn, known.id, code, self._keys, now=at)
        row = conn.execute(_TOTP, {"account": known.id, "at": at}).one_or_none()
        if row is None:
            return None
        secret = open_secret(bytes(row.verifier), known.id, self._keys)
        step = accepted_step(secret, code, at, row.last_step)
        if step is None or not take_step(conn, row.id, step):
            return None
        conn.execute(update(credentials).where(credentials.c.id == row.id).values(last_used_at=at))
        return int(row.id)

    def _rehash(self, known: _Known, verifier: str) -> None:
        with self._database.write() as conn:
            conn.execute(
                update(credentials)
                .where(
                    credentials.c.id == known.password_id,
                    credentials.c.verifier == known.verifier.encode("ascii"),
                )
                .values(verifier=verifier.encode("ascii"))
            )


def _proof(known: _Known, second: int | None, at: datetime) -> Proof:
    return Proof(
        account=known.id,
        factors=1 if second is None else 2,
        method=Method.PASSWORD,
        credential_id=known.password_id,
        second_id=second,
        at=at,
    )


def _count_failure(conn: Connection, account_id: int, at: datetime) -> None:
    conn.execute(
        update(accounts)
        .where(accounts.c.id == account_id)
        .values(failed_logins=accounts.c.failed_logins + 1, failed_at=at)
    )


def _forget_failures(conn: Connection, account_id: int) -> None:
    conn.execute(
        update(accounts)
        .where(accounts.c.id == account_id, accounts.c.failed_logins > 0)
        .values(failed_logins=0, failed_at=None)
    )


def _find(conn: Connection, name: str, at: datetime) -> _Known | None:
    row = conn.execute(_KNOWN, {"login": name, "at": at}).one_or_none()
    return None if row is None else _known(row, conn, at)


def _known(row: Any, conn: Connection, at: datetime) -> _Known:
    has_totp = conn.execute(_TOTP, {"account": row.account_id, "at": at}).one_or_none() is not None
    return _Known(
        id=row.account_id,
        active=row.state == AccountState.ACTIVE,
        failures=row.failed_logins,
        waits=account_wait(row.failed_logins, row.failed_at, at),
        password_id=row.id,
        verifier=bytes(row.verifier).decode("ascii"),
        has_totp=has_totp,
    )


# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_LIVE: Final = and_(
    credentials.c.revoked_at.is_(None),
    credentials.c.ends_at.is_(None) | (credentials.c.ends_at > bindparam("at")),
)
_KNOWN: Final = (
    select(
        credentials.c.id,
        credentials.c.account_id,
        credentials.c.verifier,
        accounts.c.state,
        accounts.c.failed_logins,
        accounts.c.failed_at,
    )
    .join_from(credentials, accounts)
    .where(
        accounts.c.login == bindparam("login"),
        credentials.c.kind == CredentialKind.PASSWORD.value,
        _LIVE,
    )
)
_TOTP: Final = select(credentials.c.id, credentials.c.verifier, credentials.c.last_step).where(
    credentials.c.account_id == bindparam("account"),
    credentials.c.kind == CredentialKind.TOTP.value,
    _LIVE,
)
