"""Status of a recipient in a DSN: enhanced status code and cause, from a reply or an error.

Pure.  The code of a reply decides the outcome.  Its enhanced code is believed only if it agrees
with the code (RFC 2034 §4): the peer may write anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from relay.smtp.failure_reason import Cause, FailureReason

# A reply; the host's name may precede it, as in the errors of attempts.
_REPLY: Final = re.compile(
    r"(?:(?P<host>[A-Za-z0-9._-]{1,253}): )?(?P<said>(?P<digit>[2-5])[0-5][0-9](?:[ -]"
    r"(?:(?P<class>[245])\.(?P<subject>0|[1-9][0-9]{0,2})\.(?P<detail>0|[1-9][0-9]{0,2})(?= |$))?"
    r".*)?)",
    re.DOTALL,
)

# By subject and detail, else by subject alone (RFC 3463 §3, RFC 7505 §4.1).
_CAUSES: Final[Mapping[str, Cause]] = MappingProxyType(
    {
        **dict.fromkeys(("1.0", "1.1", "1.3", "1.4", "1.6"), Cause.ADDRESS),
        **dict.fromkeys(("1.2", "1.10"), Cause.DOMAIN),
        **dict.fromkeys(("1.7", "1.8"), Cause.REFUSED),
        "2.1": Cause.CLOSED,
        "2.2": Cause.FULL,
        **dict.fromkeys(("2.3", "3.4"), Cause.TOO_BIG),
        **dict.fromkeys(("4.5", "4.6"), Cause.OTHER),  # congestion, a loop: the host was reached
        "4": Cause.UNREACHABLE,
        "6": Cause.FORM,
        "7": Cause.REFUSED,
    }
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Status code (RFC 3463), cause, text to quote, and the host that replied, if known."""

    status: str
    cause: Cause
    text: str
    host: str = ""


def judge(text: str, reason: FailureReason | None, *, permanent: bool) -> Judged:
    """Derive status and cause from a reply, or from the error of an attempt without a reply.

    `text`: the reply `CODE ENH words`, or the error of the attempt.  `reason`: reason of that
    error; None if the peer replied.  `permanent`: failed for good; it decides only if the reply
    does not.  An expired message has the code of its last delay.
    """
    reply = _REPLY.fullmatch(text)
    if reply is not None and reply["digit"] in "45":
        agreed = reply["class"] == reply["digit"]
        detail = f"{reply['subject']}.{reply['detail']}" if agreed else "0.0"
        cause = _CAUSES.get(detail) or _CAUSES.get(detail.partition(".")[0], Cause.OTHER)
        return Judged(f"{reply['digit']}.{detail}", cause, reply["said"], reply["host"] or "")
    if reason is None:
        detail, cause = "0.0", Cause.OTHER
    elif permanent and reason is FailureReason.NO_ROUTE:
        detail, cause = "1.10", Cause.DOMAIN  # the domain takes no mail, RFC 7505 §4.1
    else:
        detail, cause = reason.status, reason.cause
    return Judged(f"{5 if permanent else 4}.{detail}", cause, text)
