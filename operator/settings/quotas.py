"""Table [inbound.quotas]: limits of a peer in an hour, and the counters for them."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field
from pydantic.functional_validators import AfterValidator

from relay.policy.quotas import NO_LIMIT, Quota, Quotas
from whitelist.pki.name_folding import fold

from .base import Count, Section
from .endpoints import check_cn, once

if TYPE_CHECKING:  # `model` imports this module
    from .model import Settings

_EVERYBODY: Final = "*"


class PeerQuota(Section):
    """Limits of one peer in an hour, or of each peer that is not named; None: no limit."""

    messages: Count | None = None
    recipients: Count | None = None
    receipts: Count | None = None


def _check(given: dict[str, PeerQuota]) -> dict[str, PeerQuota]:
    for cn in given:
        check_cn(cn)
    return once(given, fold)


PeerQuotas = Annotated[dict[str, PeerQuota], AfterValidator(_check)]


# Key `quotas` of [inbound].
QUOTAS: Any = Field(
    default_factory=dict,
    description='Limits of a peer per hour, by the CN of its certificate; "*": each peer '
    "without its own entry. Counted: messages, recipients, requested receipts (NOTIFY=SUCCESS). "
    "Above a limit: 450 or 452 until there is room again. For each worker process.",
    examples=[{"smtp.c.mssante.fr": {"messages": 2000, "recipients": 5000, "receipts": 500}}],
)


def quotas(settings: "Settings") -> Quotas:
    """Quota counters of a worker process."""
    given = {
        cn: Quota(one.messages, one.recipients, one.receipts)
        for cn, one in settings.inbound.quotas.items()
    }
    return Quotas(given.pop(_EVERYBODY, NO_LIMIT), given)
