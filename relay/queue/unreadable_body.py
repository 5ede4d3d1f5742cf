"""Mail whose body cannot be had, though the store answers: it is held, so that nothing of it ends.

Pure.  A body that is gone, damaged, or sealed with a key that is not here does not come back by
trying: a person puts it back, and then the delivery goes on.  A store that is away is another
matter: that passes, and the message waits for its next attempt (docs/decisions/0060).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mailstore.errors import BlobDamaged, KeyMissing, NotFound

STORE: Final = "store"  # the reason of an attempt that could not read its message for now

# The reason of an attempt, which is a metric's label, and the first words of its error.
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "body-missing": "body missing: ",
        "body-damaged": "body damaged: ",
        "body-key-missing": "key of the body missing: ",
    }
)
REASONS: Final = frozenset(_WORDS)


def judged(error: Exception) -> tuple[str, str]:
    """The error and the reason of an attempt whose message could not be read."""
    match error:
        case NotFound():
            reason = "body-missing"
        case BlobDamaged():
            reason = "body-damaged"
        case KeyMissing():
            reason = "body-key-missing"
        case _:
            return f"message could not be read: {error}", STORE
    return f"{_WORDS[reason]}{error}", reason


def reason_in(error: str) -> str:
    """The reason that an error of `judged` tells of a body, empty for any other error."""
    return next((reason for reason, words in _WORDS.items() if error.startswith(words)), "")
