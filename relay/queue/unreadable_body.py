"""Mail whose body cannot be had, though the store answers: it is held, so that nothing of it ends.

Pure.  A body that is gone, damaged, or sealed with a key that is not here does not come back by
trying: a person puts it back, and then the delivery goes on.  A store that is away is another
matter: that passes, and the message waits for its next attempt (docs/decisions/0060).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mailstore.errors import BlobDamaged, KeyMissing, NotFound
from relay.smtp.failure_reason import FailureReason

# The first words of an error by its reason.
_WORDS: Final[Mapping[FailureReason, str]] = MappingProxyType(
    {
        FailureReason.BODY_MISSING: "body missing: ",
        FailureReason.BODY_DAMAGED: "body damaged: ",
        FailureReason.BODY_KEY_MISSING: "key of the body missing: ",
    }
)


def judged(error: Exception) -> tuple[str, FailureReason]:
    """The error and the reason of an attempt whose message could not be read."""
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
    """The reason that an error of `judged` tells of a body, None for any other error."""
    return next((reason for reason, words in _WORDS.items() if error.startswith(words)), None)
