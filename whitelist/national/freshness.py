"""How fresh the white list is: what counts is when it was last found to be the current one.

Pure. The publisher changes the list about twice a week, so its own date says little; a successful
check is one that found the list in force, or a newer valid one, at its source (DOMAIN §2.6,
§9.12). Expired or none means `451 4.7.1` and a queue that is held, never a bounce (DOMAIN §9.13).
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

SLACK: Final = timedelta(minutes=5)
"""How far the clocks of machines that share a folder may differ."""


class Freshness(StrEnum):
    """What the time of the last successful check means for relaying."""

    FRESH = "fresh"
    STALE = "stale"
    """Relay, and raise an alarm."""
    EXPIRED = "expired"
    """Stop relaying with temporary refusals until a check succeeds."""
    NONE = "none"
    """No check ever succeeded: as expired."""


def is_ahead(last_check: datetime | None, now: datetime) -> bool:
    """Whether a check is dated later than can be: by a clock that was ahead."""
    return last_check is not None and last_check > now + SLACK


def last_certain(
    last_check: datetime | None, generated_at: datetime | None, now: datetime
) -> datetime | None:
    """The latest instant at which the list in force was certainly current; aware instants.

    That is its last successful check, unless its date is one to come: then all that is certain is
    that the list was current when its publisher made it, at `generated_at` (None without a list).
    So a check cannot keep a list fresh for years, and a young list serves until the next check.
    """
    return generated_at if is_ahead(last_check, now) else last_check


def judge(
    last_check: datetime | None, now: datetime, stale_after: timedelta, expired_after: timedelta
) -> Freshness:
    """Judge by the time since `last_check`; a threshold takes effect as soon as it is reached.

    Times are aware. An instant after `now` counts as one that far in the past.
    """
    if last_check is None:
        return Freshness.NONE
    age = abs(now - last_check)
    if age >= expired_after:
        return Freshness.EXPIRED
    return Freshness.STALE if age >= stale_after else Freshness.FRESH
