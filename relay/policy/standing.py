"""A peer's certificate during its session: judged again when the verdict may have changed.

A certificate may be revoked or expire in the middle of a session that sends for hours
(DOMAIN §3.2, §9.62).  So each MAIL asks again.  As long as nothing could change the verdict (a new
revocation list, the end of a certificate, of a CRL or of an OCSP answer), asking costs two
comparisons.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from relay.policy.admission import Peer
from relay.policy.trust_state import TrustState

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class PeerStanding:
    """A peer with its certificate (DER, None if it showed none), and the time that this holds.

    `generation` is that of the trust store that judged.  From `since` up to `until`, `until`
    excluded, the verdict stays the same.
    """

    peer: Peer
    der: bytes | None = None
    generation: str = ""
    since: datetime = _ALWAYS[0]
    until: datetime = _ALWAYS[1]

    def holds(self, trust_state: TrustState, now: datetime) -> bool:
        """Whether the verdict is certainly still the same."""
        return self.since <= now < self.until and self.generation == trust_state.trust.generation


async def judge_peer(
    trust_state: TrustState, der: bytes | None, tls_version: str, cipher: str, now: datetime
) -> PeerStanding:
    """Judge a certificate by `TrustState.identify_peer`; may take seconds where OCSP is on."""
    trust = trust_state.trust  # CRLs that arrive during the await make the next MAIL ask again
    peer = await trust_state.identify_peer(der, tls_version, cipher)
    since, until = _ALWAYS
    if der is not None and peer.certificate is not None:
        since, until = trust.validity_span(peer.certificate, now)
        answered = trust_state.ocsp_holds_until(der, now)
        if answered is not None:
            until = min(until, answered)
    return PeerStanding(peer, der, trust.generation, since, until)
