"""How fresh the white list is: what counts is when it was last found to be the current one.

Pure. The publisher changes the list about twice a week, so its own date says little; a successful
check is one that found the list in force, or a newer valid one, at its source (DOMAIN §2.6,
§9.12). Expired or none means `451 4.7.1` and a queue that is held, never a bounce (DOMAIN §9.13).
"""

from datetime import datetime, timedelta
from enum import StrEnum


class Freshness(StrEnum):
    """What the time of the last successful check means for relaying."""

    FRESH = "fresh"
    STALE = "stale"
    """Relay, and raise an alarm."""
    EXPIRED = "expired"
    """Stop relaying with temporary refusals until a check succeeds."""
    NONE = "none"
    """No check ever succeeded: as expired."""


def judge(
    last_check: datetime | None, now: datetime, stale_after: timedelta, expired_after: timedelta
) -> Freshness:
    """Judge by the time since `last_check`; a threshold takes effect as soon as it is reached.

    Times are aware. A check dated after `now` comes from a clock that was wrong and counts as one
    that far in the past, so that it cannot keep a list fresh for years; the next one mends it.
    """
    if last_check is None:
        return Freshness.NONE
    age = abs(now - last_check)
    if age >= expired_after:
        return Freshness.EXPIRED
    return Freshness.STALE if age >= stale_after else Freshness.FRESH
