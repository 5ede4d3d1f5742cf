"""Scanners of message content, asked before a message is accepted (DOMAIN §9.25)."""

from enum import StrEnum


class OnFailure(StrEnum):
    """What becomes of a message while a scanner cannot answer."""

    DEFER = "defer"
    ACCEPT = "accept"
