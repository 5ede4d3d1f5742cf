"""Loop of the maintenance process that keeps revocation lists and white list current."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from foundation.backoff import backoff
from whitelist.errors import ArchiveError, ListRefused
from whitelist.national.freshness import is_ahead
from whitelist.refresh.crl_refresh import CrlRefresher
from whitelist.refresh.early_check import EarlyCheck
from whitelist.refresh.list_refresh import ListRefresher

_log = structlog.get_logger(__name__)

CRL_SECONDS: Final = 10.0  # between two looks for a revocation list that is due
FAILED_FILE_SECONDS: Final = 2.0  # backoff: first pause after a failed check of a file
FAILED_URL_SECONDS: Final = 30.0  # the same for a URL
LONGEST_SECONDS: Final = 1800.0  # limit of this backoff
AHEAD_SECONDS: Final = 30.0  # between two tests whether the list's last check is in the future


@dataclass(frozen=True, slots=True)
class RefreshIntervals:
    """Intervals in seconds.

    `refresh`: between two regular checks of the white list.  `look`: between two rounds.
    """

    refresh: float
    look: float


async def keep_current(
    crls: CrlRefresher,
    refresher: ListRefresher,
    check: Callable[[], Awaitable[None]],
    intervals: RefreshIntervals,
    jumped: asyncio.Event,
    looked: asyncio.Event,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Refresh the revocation lists, then the white list, whose signer they may revoke.

    Runs until cancelled.  `refresher` gets the revocation lists of `crls`.  `check`: runs its check
    of the white list; raises ListRefused, ArchiveError.  `jumped`: set when the clock jumped.
    `looked`: set after each round.  `monotonic`: seconds.  Besides the regular times:
      - a jump of the clock: both at once, since ages have changed;
      - last check dated in the future: the white list at once;
      - failed check: the white list again with backoff, since a disk or network may recover soon;
      - mail that waits for the newest list (`EarlyCheck`): the white list early.
    """
    seen, known = None, None
    crls_due = list_due = ahead_due = 0.0
    failures = 0
    early = EarlyCheck(refresher.archive.wanted_stamp)
    first = FAILED_URL_SECONDS if refresher.sources.url else FAILED_FILE_SECONDS
    longest = min(LONGEST_SECONDS, intervals.refresh)
    while True:
        now = monotonic()
        try:
            if jumped.is_set():
                jumped.clear()
                crls_due = list_due = 0.0
            if now >= ahead_due:
                ahead_due = now + AHEAD_SECONDS
                if _checked_ahead(refresher):
                    list_due = 0.0
            if now >= crls_due:
                crls_due = now + CRL_SECONDS
                await asyncio.to_thread(crls.check, refresher.clock())
            at_hand = crls.store.current()
            if at_hand != known:
                refresher.trust = await asyncio.to_thread(crls.trust.with_crls, at_hand)
            stamp = await asyncio.to_thread(refresher.source_stamp)
            again = bool(refresher.problem) and at_hand != known
            known = at_hand
            wanted = not failures and early.is_due(now)
            if stamp != seen or now >= list_due or again or wanted:
                failures += 1  # set to 0 after success
                early.begun(now)
                seen, list_due = stamp, now + backoff(failures, first, longest)
                await check()
                failures, list_due = 0, now + intervals.refresh
        except (ArchiveError, ListRefused) as error:
            _log.error("whitelist.refused", why=str(error))
        except Exception:
            # Any error: the next round must run, or the list expires.
            _log.exception("maintenance.error")
        looked.set()
        await asyncio.sleep(intervals.look)


def _checked_ahead(refresher: ListRefresher) -> bool:
    checked, now = refresher.archive.last_check(), refresher.clock()
    ahead = is_ahead(checked, now)
    if ahead and checked is not None:
        _log.error(
            "whitelist.checked_ahead",
            last_check=checked.isoformat(),
            now=now.isoformat(timespec="seconds"),
            detail="last check of the white list dated in the future: this machine's clock was "
            "ahead; checked again at once",
        )
    return ahead
