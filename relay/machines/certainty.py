"""Whether the white list in force may make mail fail, or refuse a peer, for good.

This process knows the list from files, some seconds old.  Before a permanent failure the database
is asked too which list is the newest: a failing attempt is rare, and can wait for the answer.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from foundation.best_effort import best_effort
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.machines.shared_list import read_head
from relay.policy.trust_state import TrustState
from whitelist.errors import ArchiveError
from whitelist.national.lookup import WhiteList
from whitelist.national.newest import KnownLists, SharedList, is_behind, may_fail

_log = structlog.get_logger(__name__)


class ListCertainty:
    """Answers for one trust state and the database of its store."""

    def __init__(self, database: Database, trust_state: TrustState) -> None:
        self._database = database
        self._trust_state = trust_state

    async def of_mail(
        self, by: WhiteList, queued_at: datetime, clock: Callable[[], datetime]
    ) -> bool:
        """Whether mail queued at `queued_at` may fail for good by this list.

        If not, a check of the list is requested, which decides it.
        """
        return await asyncio.to_thread(self._of_mail, by, queued_at, clock)

    def _of_mail(self, by: WhiteList, queued_at: datetime, clock: Callable[[], datetime]) -> bool:
        try:
            shared = self._shared()
        except StoreUnavailable:
            return False
        known = KnownLists(self._trust_state.known.own, shared)
        if may_fail(by, known, queued_at, clock()):
            return True
        try:
            self._trust_state.want_check()
        except ArchiveError as error:
            with best_effort:
                _log.error("whitelist.check_not_wanted", why=str(error))
        return False

    def of_question(self) -> bool:
        """Whether the list in force may refuse a peer for good now; blocks."""
        snapshot = self._trust_state.snapshot
        if not snapshot.final:
            return False
        try:
            return not is_behind(snapshot.loaded, self._shared())
        except StoreUnavailable:
            return False

    def _shared(self) -> SharedList | None:
        """The list shared at this moment.  Raises StoreUnavailable."""
        with self._database.read() as connection:
            head = read_head(connection)
        return head.shared if head is not None else None
