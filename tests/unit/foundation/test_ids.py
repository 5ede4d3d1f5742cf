"""Identifiers: UUIDs of version 7 (RFC 9562 §5.7) whose order is that of time."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.ids import RANDOM_OCTETS, new_id, parse_id, time_of
from tests.support.clock import NOW

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
RANDOM = st.binary(min_size=RANDOM_OCTETS, max_size=RANDOM_OCTETS)
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_the_example_of_the_rfc() -> None:
    # RFC 9562, Appendix A.6
    at = datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(timedelta(hours=-5)))
    randomness = bytes.fromhex("0cc3 18c4dc0c0c07398f")
    assert new_id(at, randomness) == "017f22e279b07cc398c4dc0c0c07398f"


@given(MOMENTS, RANDOM)
@example(NOW, bytes(RANDOM_OCTETS))
@example(NOW, b"\xff" * RANDOM_OCTETS)
@example(datetime(2026, 11, 22, 10, 11, 12, 1000, tzinfo=UTC), bytes(RANDOM_OCTETS))
def test_it_is_a_version_7_uuid_of_its_millisecond(at: datetime, randomness: bytes) -> None:
    text = new_id(at, randomness)
    found = uuid.UUID(text)
    assert (text, found.version, found.variant) == (found.hex, 7, uuid.RFC_4122)
    assert EPOCH + (found.int >> 80) * MILLISECOND <= at
    assert at < EPOCH + ((found.int >> 80) + 1) * MILLISECOND


@given(MOMENTS, MOMENTS, RANDOM, RANDOM)
def test_later_ones_sort_later(a: datetime, b: datetime, one: bytes, other: bytes) -> None:
    earlier, later = sorted((a, b))
    if later - earlier > MILLISECOND:
        assert new_id(earlier, one) < new_id(later, other)


@given(RANDOM, st.integers(0, 8 * RANDOM_OCTETS - 1))
def test_all_randomness_but_six_bits_is_kept(randomness: bytes, bit: int) -> None:
    flipped = int.from_bytes(randomness, "big") ^ 1 << bit
    same = new_id(NOW, randomness) == new_id(NOW, flipped.to_bytes(RANDOM_OCTETS, "big"))
    assert same == (bit in {76, 77, 78, 79, 62, 63})


def test_the_time_zone_does_not_matter() -> None:
    paris = NOW.astimezone(timezone(timedelta(hours=1)))
    assert new_id(paris, bytes(RANDOM_OCTETS)) == new_id(NOW, bytes(RANDOM_OCTETS))


@given(MOMENTS.filter(lambda at: at >= EPOCH), RANDOM)
@example(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), b"\xff" * RANDOM_OCTETS)
def test_it_tells_when_it_was_made(at: datetime, randomness: bytes) -> None:
    made = time_of(new_id(at, randomness))
    assert timedelta(0) <= at - made < MILLISECOND


ID = "017f22e279b07cc398c4dc0c0c07398f"


@pytest.mark.parametrize(
    "text",
    [
        ID,
        ID.upper(),
        str(uuid.UUID(ID)),
        str(uuid.UUID(ID)).upper(),
        f"[session {ID}]",
        f"<{ID}>",
        f"  {ID}\n",
        f"session {ID}",
        f"message: {ID}",
        f"Session {ID}.",
        f"{ID}],",
        f'("{ID}")',
    ],
)
def test_read_however_it_was_pasted(text: str) -> None:
    assert parse_id(text) == ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "session",
        ID[:-1],
        f"{ID}0",
        f"{ID} {ID}",
        ID.replace("7cc3", "4cc3"),  # a UUID of another version is not ours
        ID.replace("98c4", "c8c4"),
        "0" * 32,
        ID.replace("f", "g"),
        ID.replace("0", "٠"),
        f"{ID}@a.mssante.fr",
        "ffffffffffff7cc398c4dc0c0c07398f",
    ],
)
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        parse_id(text)


@given(st.text() | st.text("0123456789abcdef-[]<> session", min_size=30))
def test_any_text_is_an_identifier_or_refused(text: str) -> None:
    try:
        found = parse_id(text)
    except ValueError:
        return
    assert uuid.UUID(found).version == 7
    assert parse_id(found) == found
