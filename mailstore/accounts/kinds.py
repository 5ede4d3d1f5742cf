"""Kinds and states of accounts. Pure."""

from enum import StrEnum


class AccountKind(StrEnum):
    """A person, or a program that sends or reads by itself."""

    PERSON = "person"
    SOFTWARE = "software"


class AccountState(StrEnum):
    """A suspended account can be resumed; closing is final."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"
