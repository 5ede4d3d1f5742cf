"""Table [audit]: the audit trail's anchors and retention."""

from typing import Annotated, Final

from pydantic import Field
from pydantic.functional_validators import AfterValidator

from .base import Count, Hours, Section
from .endpoints import split_endpoint

FILE, SYSLOG, MAIL = "file:", "syslog:", "mailto:"
LOCAL_SYSLOG: Final = "syslog:unix"
LEAST_DAYS: Final = 183  # six months (DOMAIN §9.60)


def _check_place(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a place has characters that cannot be seen")
    if text.startswith(FILE) and len(text) > len(FILE):
        return text
    if text == LOCAL_SYSLOG:
        return text
    if text.startswith(SYSLOG):
        split_endpoint(text.removeprefix(SYSLOG))
        return text
    local, _, domain = text.removeprefix(MAIL).rpartition("@")
    if text.startswith(MAIL) and local and domain and " " not in text:
        return text
    raise ValueError(
        f"{text!r} is no place: give file:PATH, syslog:unix, syslog:HOST:PORT or mailto:ADDRESS"
    )


def _check_places(given: list[str]) -> list[str]:
    if len(set(given)) != len(given):
        raise ValueError("a place is there twice; remove one")
    return given


Places = Annotated[
    list[Annotated[str, AfterValidator(_check_place)]], AfterValidator(_check_places)
]


class AuditSection(Section):
    """Audit trail: who did what to which mailbox, account or message (mssante audit)."""

    keep_days: Annotated[int, Field(ge=LEAST_DAYS, le=36_500)] = Field(
        1095,
        description="Days that its rows are kept; health mail asks for six months and more.",
    )
    anchor_minutes: Count = Field(
        15,
        le=10_080,
        description="Minutes between two anchors: signed statements of the trail's newest rows, "
        "made when there are new ones.",
    )
    anchors_to: Places = Field(
        default_factory=list,
        description="Places off this machine that anchors are sent to, so that the machine's "
        "owner cannot change the trail unseen: file:PATH (on another machine's disk), "
        "syslog:unix, syslog:HOST:PORT (TCP, RFC 6587), mailto:ADDRESS (at another operator, from "
        "operator.postmaster).",
        examples=[["syslog:192.0.2.7:601", "mailto:audit@b.mssante.fr"]],
    )
    unsent_hours: Hours = Field(
        24.0, description="Age of an anchor that a place lacks after which there is an alarm."
    )
