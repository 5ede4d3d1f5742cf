"""Sharing of the newest white list among the machines of a store, through the database.

The database is not trusted: this machine verifies a shared list with its own trust store, and
adopts it like any other list.  All decisions depend only on the archive and the shared row, so a
crash between adoption and sharing loses nothing.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from foundation.backoff import backoff
from mailstore.db.database import Database
from mailstore.db.dialect import server_clock
from mailstore.errors import StoreUnavailable
from relay.machines.shared_list import (
    ListOffer,
    NotPacked,
    SharedListHead,
    confirm,
    publish,
    read_head,
    read_list_octets,
)
from whitelist.errors import ArchiveError, ListReason, ListRefused
from whitelist.national.archive import ArchiveRecord, FileStamp, ListSource
from whitelist.national.freshness import is_ahead
from whitelist.national.newest import ConfirmedList, KnownLists, SharedList
from whitelist.pki.trust_store import TrustStore
from whitelist.refresh.list_refresh import ListRefresher

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0  # between two looks at the shared row
_FIRST: Final = 30.0  # backoff: seconds until a refused list is tried again, then doubled
_LONGEST: Final = 1800.0
_CHECK_STEP: Final = timedelta(minutes=1)  # another machine's check counts if so much later
# Reasons that hold for every machine, with any trust and clock: no publisher has signed this.
_NO_LIST: Final = frozenset(
    {
        ListReason.TOO_LARGE,
        ListReason.NOT_WELL_FORMED,
        ListReason.DTD_FORBIDDEN,
        ListReason.UNSIGNED,
        ListReason.SEVERAL_SIGNATURES,
        ListReason.SIGNATURE_SHAPE,
        ListReason.SIGNATURE_INVALID,
        ListReason.CONTENT_ALTERED,
    }
)


class _Damaged(Exception):
    """The shared octets are not a list; the message says why."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Refusal of a shared list.

    `trust`: trust store used.  `times`: refusals of this list so far.  `again`: time of the next
    attempt, monotonic.  `damaged`: the octets are not a list.
    """

    digest: str
    why: str
    trust: TrustStore
    times: int
    again: float
    damaged: bool


@dataclass(slots=True)
class ListSharing:
    """Exchange of the white list with the other machines, for the archive of a refresher.

    The clock is that of the refresher.  `monotonic`: seconds, for the pauses after a refusal.
    """

    database: Database
    refresher: ListRefresher
    monotonic: Callable[[], float] = time.monotonic
    _active: tuple[FileStamp | None, ArchiveRecord | None] | None = None
    _refusal: _Refusal | None = None
    _told: ConfirmedList | None = None  # last check that was published to the others
    _known: KnownLists | None = None
    _away: bool = False
    _soon: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def problem(self) -> str:
        """Reason why the list of another machine is refused here; empty if none is."""
        return self._refusal.why if self._refusal is not None else ""

    async def run(self) -> None:
        """Look every LOOK_SECONDS, and after an adoption, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.exchange)
                self._away = False
            except StoreUnavailable as error:
                if not self._away:
                    _log.warning("whitelist.not_shared", why=str(error))
                self._away = True
            except ArchiveError as error:
                _log.error("whitelist.not_shared", why=str(error))
            except Exception:
                # Any error: the next look must run, or this machine falls behind.
                _log.exception("maintenance.error")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), LOOK_SECONDS)
            self._soon.clear()

    async def check(self) -> None:
        """Check this machine's source; share an adopted list at once.

        Raises ListRefused, ArchiveError.
        """
        if (await asyncio.to_thread(self.refresher.check)).changed:
            self._soon.set()

    def exchange(self) -> None:
        """Adopt the shared list if newer, else share ours if newer; exchange check times.  Blocks.

        Raises StoreUnavailable, ArchiveError.
        """
        with self.database.read() as connection:
            head = read_head(connection)
        if head is not None and self._is_newer(head):
            self._take(head)
        active = self._in_force()
        damaged = head is not None and self._is_damaged(head, active)
        if active is not None and (
            head is None or damaged or head.shared.generated_at < active.generated_at
        ):
            self._publish(active, head.shared if head is not None and damaged else None)
            with self.database.read() as connection:
                head = read_head(connection)
            damaged = False
        if head is None or not self._still_refused(head, active):
            self._refusal = None
        self._note(None if head is None or damaged else head.shared)
        if head is not None and active is not None and head.shared.digest == active.digest:
            self._exchange_checks(head.shared)

    def _in_force(self) -> ArchiveRecord | None:
        """List in force; cached until the archive changes."""
        archive = self.refresher.archive
        stamp = archive.stamp()[0]
        if self._active is None or self._active[0] != stamp:
            self._active = stamp, archive.active()
        return self._active[1]

    def _is_newer(self, head: SharedListHead) -> bool:
        active = self._in_force()
        if active is not None and head.shared.generated_at <= active.generated_at:
            return False
        refusal = self._refusal
        if refusal is None or refusal.digest != head.shared.digest:
            return True
        return refusal.trust is not self.refresher.trust or self.monotonic() >= refusal.again

    def _is_damaged(self, head: SharedListHead, active: ArchiveRecord | None) -> bool:
        """Whether the shared octets are not a list, so that a real list may replace them."""
        if active is not None and head.shared.digest == active.digest:
            return head.shared.generated_at != active.generated_at
        refusal = self._refusal
        return refusal is not None and refusal.digest == head.shared.digest and refusal.damaged

    def _still_refused(self, head: SharedListHead, active: ArchiveRecord | None) -> bool:
        refused = self._refusal is not None and self._refusal.digest == head.shared.digest
        return refused and (active is None or active.digest != head.shared.digest)

    def _take(self, head: SharedListHead) -> None:
        """Verify and adopt the shared list, or note why it is refused."""
        shared, trust = head.shared, self.refresher.trust
        try:
            self._adopt(head)
        except _Damaged as error:
            self._refuse(shared, trust, f"no list: {error}", damaged=True)
        except ListRefused as error:
            self._refuse(shared, trust, str(error), damaged=error.reason in _NO_LIST)
        else:
            self._refusal = None

    def _adopt(self, head: SharedListHead) -> None:
        shared, archive = head.shared, self.refresher.archive
        try:
            with self.database.read() as connection:
                data = read_list_octets(connection, shared.digest)
        except NotPacked as error:
            raise _Damaged(str(error)) from error
        if data is None:
            return  # replaced meanwhile: the next look finds the new list
        found = self.refresher.verified(data)
        if (found.digest, found.generated_at) != (shared.digest, shared.generated_at):
            raise _Damaged(
                f"it is the list {found.digest[:12]} of {found.generated_at.isoformat()}, "
                f"shared as {shared.digest[:12]} of {shared.generated_at.isoformat()}"
            )
        active = self._in_force()
        # On another machine a person let this list pass, or a list between it and ours.
        accepted = head.shrink_accepted is not None and (
            active is None or head.shrink_accepted > active.generated_at
        )
        now = self.refresher.clock()
        checks = [at for at in (archive.last_check(), shared.checked_at) if at and _past(at, now)]
        self.refresher.adopt(
            data,
            found,
            ListSource.SHARED,
            accept_shrink=accepted,
            checked=max(checks, default=found.generated_at),
        )

    def _refuse(self, shared: SharedList, trust: TrustStore, why: str, *, damaged: bool) -> None:
        before = self._refusal
        again = before is not None and before.digest == shared.digest
        times = before.times + 1 if again and before is not None else 1
        text = f"the list of {shared.generated_at.isoformat()} of another machine: {why}"
        if not again or (before is not None and before.why != text):
            _log.error("whitelist.shared_refused", digest=shared.digest, why=text)
        wait = backoff(times, _FIRST, _LONGEST)
        self._refusal = _Refusal(
            shared.digest, text, trust, times, self.monotonic() + wait, damaged
        )

    def _publish(self, active: ArchiveRecord, instead_of: SharedList | None) -> None:
        version, data = self.refresher.archive.load("active")
        if version.digest != active.digest:
            return  # replaced meanwhile: the next look shares the new list
        own = self.refresher.archive.known().own
        offer = ListOffer(
            version.digest,
            version.generated_at,
            data,
            self._ago(own) if own is not None and own.digest == version.digest else None,
            version.accepted_shrink,
        )
        with self.database.write() as connection:
            done = publish(connection, offer, self._clock(connection), instead_of=instead_of)
        if done:
            _log.info(
                "whitelist.shared",
                digest=version.digest,
                generated_at=version.generated_at.isoformat(),
                instead_of_damaged=instead_of is not None,
            )

    def _note(self, shared: SharedList | None) -> None:
        """Write into the archive which list is shared, for the processes of this machine."""
        archive = self.refresher.archive
        known = self._known or archive.known()
        if known.shared != shared:
            archive.note_shared(shared)
        self._known = KnownLists(None, shared)

    def _exchange_checks(self, shared: SharedList) -> None:
        """Publish our last check, and take over a later check of others: the list is the same."""
        archive = self.refresher.archive
        own = archive.known().own
        ago = self._ago(own) if own is not None and own.digest == shared.digest else None
        if own is not None and ago is not None and own != self._told:
            with self.database.write() as connection:
                if confirm(connection, shared.digest, self._clock(connection), ago):
                    self._told = own
        last, now = archive.last_check(), self.refresher.clock()
        if _past(shared.checked_at, now) and (
            last is None or not _past(last, now) or shared.checked_at >= last + _CHECK_STEP
        ):
            archive.record_check(shared.checked_at)

    def _ago(self, own: ConfirmedList) -> timedelta | None:
        """Age of a check of this machine; None if it is dated in the future."""
        now = self.refresher.clock()
        return now - own.at if _past(own.at, now) else None

    def _clock(self, connection: Connection) -> datetime:
        """Current time by the database's clock; for SQLite by this machine's clock."""
        return server_clock(connection) or self.refresher.clock()


def _past(at: datetime | None, now: datetime) -> bool:
    """Whether a check has a time, and that is not in the future."""
    return at is not None and not is_ahead(at, now)
