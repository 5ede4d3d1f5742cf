"""Times as stored: whole microseconds since 1970 in UTC. Pure."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(value: int) -> datetime:
    """The time in UTC of so many microseconds since 1970. OverflowError beyond the year 9999."""
    return _EPOCH + value * _MICROSECOND


def microseconds(value: datetime) -> int:
    """Microseconds since 1970 in UTC, as stored in tables. ValueError for a naive datetime."""
    if value.tzinfo is None:
        raise ValueError(f"a time with its zone is needed, not the naive {value.isoformat()}")
    return (value - _EPOCH) // _MICROSECOND
