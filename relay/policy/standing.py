"""A peer's certificate during its session: judged again when the verdict may have changed.

A certificate may be revoked or expire in the middle of a session that sends for hours
(DOMAIN §3.2, §9.62).  So each MAIL asks again.  As long as nothing could change the verdict (a new
revocation list, the end of a certificate, of a CRL or of an OCSP answer), asking costs two
comparisons.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from relay.policy.admission import Peer
from relay.policy.trust_state import Perimeter

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Standing:
    """A peer with its certificate (DER, None if it showed none), and the time that this holds.

    `generation` is that of the trust store that judged.  From `since` up to `until`, `until`
    excluded, the verdict stays the same.
    """

    peer: Peer
    der: bytes | None = None
    generation: str = ""
    since: datetime = _ALWAYS[0]
    until: datetime = _ALWAYS[1]

    def holds(self, perimeter: Perimeter, now: datetime) -> bool:
        """Whether the verdict is certainly still the same."""
        return self.since <= now < self.until and self.generation == perimeter.trust.generation


async def judge(
    perimeter: Perimeter, der: bytes | None, tls_version: str, cipher: str, now: datetime
) -> Standing:
    """Judge a certificate by `Perimeter.identify_peer`; may take seconds where OCSP is on."""
    trust = perimeter.trust  # CRLs that arrive during the await make the next MAIL ask again
    peer = await perimeter.identify_peer(der, tls_version, cipher)
    since, until = _ALWAYS
    if der is not None and peer.certificate is not None:
        since, until = trust.validity_span(peer.certificate, now)
        answered = perimeter.ocsp_holds_until(der, now)
        if answered is not None:
            until = min(until, answered)
    return Standing(peer, der, trust.generation, since, until)
