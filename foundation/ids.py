"""Identifiers of sessions and messages: UUID version 7, sortable by time (RFC 9562 §5.7)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

RANDOM_OCTETS: Final = 10

# Identifiers as people paste them: from a reply, a Received field, a ticket, or with dashes.
_TYPED: Final = re.compile(
    r"[\s\[<(\"']*(?:(?:session|message)\s*:?\s+)?"
    r"([0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12})[\s\]>)\"'.,;]*",
    re.ASCII | re.IGNORECASE,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def new_id(now: datetime, randomness: bytes) -> str:
    """Return a UUIDv7 (32 lower-case hex digits) from an aware time and ten random octets."""
    milliseconds = (now - _EPOCH) // _MILLISECOND
    value = milliseconds << 80 | int.from_bytes(randomness[:RANDOM_OCTETS], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def parse_id(text: str) -> str:
    """Return a pasted identifier in the form of `new_id`. Raises ValueError."""
    match = _TYPED.fullmatch(text)
    if match is None:
        raise ValueError(f"not an identifier of a session or message: {text}")
    found = match[1].replace("-", "").lower()
    time_of(found)
    return found


def time_of(identifier: str) -> datetime:
    """The time in an identifier, to the millisecond. Raises ValueError after the year 9999."""
    try:
        return _EPOCH + timedelta(milliseconds=int(identifier[:12], 16))
    except OverflowError as error:
        raise ValueError(f"an identifier of a time after the year 9999: {identifier}") from error
