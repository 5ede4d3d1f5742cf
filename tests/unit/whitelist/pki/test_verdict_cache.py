"""Cache of verdicts: a verdict is cached exactly as long as it is valid."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mssante_operator.setup.testbed.certificate_profile import Lifetime
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import NOW, crl, crls, hierarchy, server, spare_key, trust
from whitelist.pki.crl import RevocationList, RevocationPolicy
from whitelist.pki.trust_store import CertificateFacts, ChainStatus, ChainVerdict, TrustStore
from whitelist.pki.verdict_cache import VerdictCache

PEER = server("relay.a.fr")
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def der(credential: Credential) -> bytes:
    return credential.certificate.public_bytes(Encoding.DER)


def strict(*lists: RevocationList, accept: bool = False) -> TrustStore:
    policy = RevocationPolicy.ACCEPT if accept else RevocationPolicy.REFUSE
    return TrustStore(trust().anchors, trust().intermediates, lists, policy)


def status(cache: VerdictCache, at: datetime, credential: Credential = PEER) -> ChainStatus:
    """The cache's verdict, which must equal the store's."""
    facts, verdict = cache.verdict(der(credential), at)
    fresh = cache.trust.verify(credential.certificate, at)
    assert facts == CertificateFacts.from_certificate(credential.certificate)
    assert (verdict.status, verdict.crl_until, bool(verdict.alarm)) == (
        fresh.status,
        fresh.crl_until,
        bool(fresh.alarm),
    )
    return verdict.status


def remembers(cache: VerdictCache, first: datetime, then: datetime) -> bool:
    """True if the verdict of one instant is reused for the other; both must be right."""
    status(cache, first)
    before = cache.verdict(der(PEER), first)
    status(cache, then)
    return cache.verdict(der(PEER), then) is before


def test_a_verdict_is_reached_once() -> None:
    cache = VerdictCache(strict(*crls()))
    first = cache.verdict(der(PEER), NOW)
    assert first[1].trusted
    assert cache.verdict(der(PEER), NOW + DAY) is first
    assert len(cache) == 1


@pytest.mark.parametrize(
    "turn",
    [
        PEER.certificate.not_valid_before_utc,
        PEER.certificate.not_valid_after_utc + SECOND,
        hierarchy().root.certificate.not_valid_after_utc + SECOND,
        hierarchy().intermediate.certificate.not_valid_after_utc + SECOND,
        NOW - DAY,  # the lists' this_update
        NOW + 7 * DAY,  # their next_update
    ],
)
@pytest.mark.parametrize("accept", [True, False])
def test_no_verdict_crosses_a_beginning_or_an_end(turn: datetime, accept: bool) -> None:
    cache = VerdictCache(strict(*crls(), accept=accept))
    assert not remembers(cache, turn - timedelta.resolution, turn)
    assert not remembers(cache, turn, turn - timedelta.resolution)  # nor if the clock is set back


def test_a_list_that_ends_first_ends_the_verdict() -> None:
    early = RevocationList.read(crl(hierarchy().root, days=2))
    cache = VerdictCache(strict(early, crls()[1]))
    assert status(cache, NOW) is ChainStatus.TRUSTED
    assert status(cache, NOW + DAY - SECOND) is ChainStatus.TRUSTED
    assert status(cache, NOW + DAY) is ChainStatus.NO_CRL


def test_a_new_list_counts_at_once() -> None:
    cache = VerdictCache(strict(*crls()))
    assert status(cache, NOW) is ChainStatus.TRUSTED
    cache.trust = cache.trust.with_crls(crls(PEER))
    assert status(cache, NOW) is ChainStatus.REVOKED
    cache.trust = cache.trust.with_crls(())
    assert status(cache, NOW) is ChainStatus.NO_CRL


def test_the_same_lists_read_again_keep_the_verdicts() -> None:
    lists = crls()
    cache = VerdictCache(strict(*lists))
    first = cache.verdict(der(PEER), NOW)
    cache.trust = cache.trust.with_crls(RevocationList.read(one.der) for one in reversed(lists))
    assert cache.verdict(der(PEER), NOW) is first


def test_the_policy_and_the_authorities_count_too() -> None:
    cache = VerdictCache(trust())
    assert status(cache, NOW) is ChainStatus.TRUSTED
    cache.trust = strict()
    assert status(cache, NOW) is ChainStatus.NO_CRL
    cache.trust = TrustStore(trust().anchors, ())
    assert status(cache, NOW) is ChainStatus.UNTRUSTED


def test_each_certificate_has_its_own_verdict() -> None:
    cache = VerdictCache(strict(*crls(PEER)))
    assert status(cache, NOW) is ChainStatus.REVOKED
    assert status(cache, NOW, server("b.fr")) is ChainStatus.TRUSTED
    assert status(cache, NOW) is ChainStatus.REVOKED


def test_the_least_used_is_forgotten() -> None:
    peers = [server(f"{number}.fr") for number in range(3)]
    cache = VerdictCache(trust(), size=2)
    first = cache.verdict(der(peers[0]), NOW)
    second = cache.verdict(der(peers[1]), NOW)
    assert cache.verdict(der(peers[0]), NOW) is first
    cache.verdict(der(peers[2]), NOW)
    assert len(cache) == 2
    assert cache.verdict(der(peers[0]), NOW) is first
    assert cache.verdict(der(peers[1]), NOW) is not second
    with pytest.raises(ValueError, match="from 1 on"):
        VerdictCache(trust(), size=0)


@pytest.mark.parametrize("octets", [b"", b"x", der(PEER)[:-1]])
def test_what_is_no_certificate_is_an_error_each_time(octets: bytes) -> None:
    cache = VerdictCache(trust())
    for _ in range(2):
        with pytest.raises(ValueError, match=r"(?i)parsing"):
            cache.verdict(octets, NOW)
    assert len(cache) == 0


def test_a_certificate_without_end_is_remembered() -> None:
    """RFC 5280 §4.1.2.5: no well-defined expiration is written as the last second of 9999."""
    forever = Lifetime(NOW - DAY, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    issued = hierarchy().issue_server(PEER.certificate.subject, ["a.fr"], forever, key=spare_key())
    cache = VerdictCache(trust())
    assert status(cache, NOW, issued) is ChainStatus.TRUSTED
    last = datetime.max.replace(tzinfo=UTC)
    assert status(cache, last, issued) is ChainStatus.EXPIRED  # its authorities have expired
    assert status(cache, datetime(1970, 1, 1, tzinfo=UTC), issued) is ChainStatus.NOT_YET_VALID


def test_a_remembered_verdict_does_not_verify_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VerdictCache(strict(*crls()))
    cache.verdict(der(PEER), NOW)

    def verify(store: TrustStore, certificate: x509.Certificate, at: datetime) -> ChainVerdict:
        raise AssertionError((store, certificate, at))

    monkeypatch.setattr(TrustStore, "verify", verify)
    assert cache.verdict(der(PEER), NOW)[1].trusted
    with pytest.raises(AssertionError):
        cache.verdict(der(server("c.fr")), NOW)
