"""Payload of a notification: numbers of mailboxes. Pure."""

from collections.abc import Collection, Iterator
from typing import Final

# PostgreSQL takes payloads shorter than 8 000 octets; a number and its comma take at most 20.
_PER_PAYLOAD: Final = 390


def payloads_of(mailbox_ids: Collection[int]) -> Iterator[str]:
    """Payloads that name each mailbox once."""
    numbers = sorted(set(mailbox_ids))
    for start in range(0, len(numbers), _PER_PAYLOAD):
        yield ",".join(map(str, numbers[start : start + _PER_PAYLOAD]))


def mailboxes_of(payload: str) -> list[int] | None:
    """Mailboxes that a payload names; None for text that is no payload of ours."""
    numbers = payload.split(",")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    return [int(number) for number in numbers]
