"""Unreadable body, although the store answers: the delivery is held, not failed.  Pure.

A body that is missing, damaged, or sealed with a missing key does not come back by retries: a
person restores it, and the delivery goes on.  An outage of the store is different: it passes, and
the message waits for its next attempt (docs/decisions/0060).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mailstore.errors import BlobDamaged, KeyMissing, NotFound
from relay.smtp.failure_reason import FailureReason

# First words of the error, by reason.
_WORDS: Final[Mapping[FailureReason, str]] = MappingProxyType(
    {
        FailureReason.BODY_MISSING: "body missing: ",
        FailureReason.BODY_DAMAGED: "body damaged: ",
        FailureReason.BODY_KEY_MISSING: "key of the body missing: ",
    }
)


def judged(error: Exception) -> tuple[str, FailureReason]:
    """Return error text and reason of an attempt whose message could not be read."""
    match error:
        case NotFound():
            reason = FailureReason.BODY_MISSING
        case BlobDamaged():
            reason = FailureReason.BODY_DAMAGED
        case KeyMissing():
            reason = FailureReason.BODY_KEY_MISSING
        case _:
            return f"message could not be read: {error}", FailureReason.STORE
    return f"{_WORDS[reason]}{error}", reason


def reason_in(error: str) -> FailureReason | None:
    """Return the reason named by an error text of `judged`; None for any other text."""
    return next((reason for reason, words in _WORDS.items() if error.startswith(words)), None)
