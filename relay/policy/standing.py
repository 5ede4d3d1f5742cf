"""How a peer's certificate stands while its session goes on: judged again as soon as need be.

A certificate may be revoked, or run out, in the middle of a session that sends for hours
(DOMAIN §3.2, §9.62).  So each MAIL asks anew.  As long as nothing has come that could change the
verdict (another revocation list, the end of a certificate, a list or an OCSP answer), asking costs
two comparisons.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from relay.policy.admission import Peer
from relay.policy.trust_state import Perimeter

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Standing:
    """A peer with its certificate (DER, None if it showed none), and until when that holds.

    `generation` is that of the trust store that judged; in the span from `since` to `until`, the
    end excluded, it says the same again.
    """

    peer: Peer
    der: bytes | None = None
    generation: str = ""
    since: datetime = _ALWAYS[0]
    until: datetime = _ALWAYS[1]

    def holds(self, perimeter: Perimeter, now: datetime) -> bool:
        """Whether asking again could say nothing else."""
        return self.since <= now < self.until and self.generation == perimeter.trust.generation


async def judge(
    perimeter: Perimeter, der: bytes | None, tls_version: str, cipher: str, now: datetime
) -> Standing:
    """Judge a certificate as `Perimeter.identify_peer` does; may take seconds where OCSP is on."""
    trust = perimeter.trust  # lists that come while we ask make the next MAIL ask again
    peer = await perimeter.identify_peer(der, tls_version, cipher)
    since, until = _ALWAYS
    if der is not None and peer.certificate is not None:
        since, until = trust.steady(peer.certificate, now)
        answered = perimeter.ocsp_holds_until(der, now)
        if answered is not None:
            until = min(until, answered)
    return Standing(peer, der, trust.generation, since, until)
