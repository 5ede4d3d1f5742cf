"""Choice for a scanner that cannot answer; apart, since the settings need it at every start."""

from enum import StrEnum


class OnFailure(StrEnum):
    """The treatment of a message while a scanner cannot answer."""

    DEFER = "defer"
    ACCEPT = "accept"
