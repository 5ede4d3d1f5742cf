"""Freshness of the white list: the time since the last check that found it current.

Pure. The publisher changes the list about twice a week, so the list's own date says little. A
successful check found the list in force, or a newer valid list, at its source (DOMAIN §2.6, §9.12).
Expired or none: `451 4.7.1` and a held queue, never a bounce (DOMAIN §9.13).
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

SLACK: Final = timedelta(minutes=5)
"""Tolerated difference between the clocks of machines that share a folder."""


class Freshness(StrEnum):
    """Freshness, with its meaning for relaying."""

    FRESH = "fresh"
    STALE = "stale"
    """Relay, and raise an alarm."""
    EXPIRED = "expired"
    """Stop relaying, with temporary refusals, until a check succeeds."""
    NONE = "none"
    """No check ever succeeded: as expired."""


def is_ahead(last_check: datetime | None, now: datetime) -> bool:
    """True if a check is dated in the future: its clock was ahead."""
    return last_check is not None and last_check > now + SLACK


def last_certain(
    last_check: datetime | None, generated_at: datetime | None, now: datetime
) -> datetime | None:
    """Return the latest instant at which the list in force was certainly current; aware instants.

    This is the last successful check. If the check is dated in the future, only the publisher's
    `generated_at` (None without a list) is certain. So a wrong clock cannot keep a list fresh for
    years, and a young list serves until the next check.
    """
    return generated_at if is_ahead(last_check, now) else last_check


def judge_freshness(
    last_check: datetime | None, now: datetime, stale_after: timedelta, expired_after: timedelta
) -> Freshness:
    """Return the freshness by the time since `last_check`; a threshold applies once reached.

    Times are aware. An instant after `now` counts as equally far in the past.
    """
    if last_check is None:
        return Freshness.NONE
    age = abs(now - last_check)
    if age >= expired_after:
        return Freshness.EXPIRED
    return Freshness.STALE if age >= stale_after else Freshness.FRESH
