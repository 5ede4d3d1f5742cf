"""Choice of the treatment of header From; apart, since the settings need it at every start."""

from enum import StrEnum


class HeaderFromPolicy(StrEnum):
    """How a From domain that is not listed with the peer's DN is treated."""

    REFUSE = "refuse"
    TAG = "tag"
    OFF = "off"
