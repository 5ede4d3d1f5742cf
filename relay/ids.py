"""Identifiers of sessions and messages: UUIDs of version 7, which sort by time (RFC 9562 §5.7)."""

from datetime import UTC, datetime, timedelta
from typing import Final

RANDOM_OCTETS: Final = 10

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(now: datetime, randomness: bytes) -> str:
    """A UUIDv7 as 32 lower-case hex digits, from an aware time and ten random octets."""
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)
    value = milliseconds << 80 | int.from_bytes(randomness[:RANDOM_OCTETS], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"
