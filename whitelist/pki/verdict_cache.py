"""Cache of verdicts on peers' certificates, so that a session costs microseconds.

The key is the certificate's SHA-256. A cached verdict is used while a new one could not differ:
same authorities, lists and policy (the store's generation), and no start or end of a certificate,
authority or list in between (`TrustStore.validity_span`). The verdict's text names the instant of
the judgement.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from cryptography import x509

from whitelist.pki.certificate_fitness import lacks_client_auth, unfitness
from whitelist.pki.certificates import read_der
from whitelist.pki.trust_store import CertificateFacts, ChainStatus, ChainVerdict, TrustStore

Judged = tuple[CertificateFacts, ChainVerdict]


@dataclass(frozen=True, slots=True)
class _CachedVerdict:
    generation: str
    since: datetime
    until: datetime
    judged: Judged


class VerdictCache:
    """Cache of `trust`'s verdicts on the `size` most recently used certificates.

    `trust` may be replaced at any time, for example by a store with newer lists: verdicts of
    another generation are not used. Thread-safe.
    """

    def __init__(self, trust: TrustStore, size: int = 4096) -> None:
        if size < 1:
            raise ValueError(f"a cache of {size} verdicts can hold none; give a size from 1 on")
        self.trust = trust
        self._size = size
        self._entries: OrderedDict[bytes, _CachedVerdict] = OrderedDict()

    def verdict(self, der: bytes, at: datetime) -> Judged:
        """Read a peer's certificate; judge chain and usage as of the aware instant `at`.

        Raises ValueError if it is unreadable.
        """
        trust = self.trust
        key = sha256(der).digest()
        entry = self._entries.pop(key, None)  # put back last: the first is the least recently used
        if (
            entry is None
            or entry.generation != trust.generation
            or not entry.since <= at < entry.until
        ):
            entry = _entry(trust, der, at)
        if entry.judged[1].status is ChainStatus.UNTRUSTED:
            # Not cached: anybody can make any number of these, and would push out our peers'
            # verdicts.
            return entry.judged
        self._entries[key] = entry
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry.judged

    def __len__(self) -> int:
        return len(self._entries)


def _entry(trust: TrustStore, der: bytes, at: datetime) -> _CachedVerdict:
    certificate = read_der(der)
    facts = CertificateFacts.from_certificate(certificate)
    verdict = _for_a_peer(certificate, trust.verify(certificate, at))
    return _CachedVerdict(trust.generation, *trust.validity_span(facts, at), (facts, verdict))


def _for_a_peer(certificate: x509.Certificate, verdict: ChainVerdict) -> ChainVerdict:
    """Add the checks that count only for a peer: its certificate's usages."""
    if verdict.status not in {ChainStatus.TRUSTED, ChainStatus.NO_CRL}:
        return verdict
    if unfit := unfitness(certificate):
        return ChainVerdict(ChainStatus.WRONG_USE, unfit, verdict.crl_until)
    if lacks_client_auth(certificate):
        said = "its extended key usage lacks clientAuth, which is tolerated"
        return replace(verdict, detail=f"{verdict.detail}; {said}", client_auth=False)
    return verdict
