"""Revocation in the real hierarchies of IGC-Santé, if their files are present."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from tests.support.lists.real import (
    needs_real_crls,
    needs_real_data,
    real_octets,
    real_test_crls,
    real_test_leaf,
    real_test_trust,
    real_trust,
)
from whitelist.national.signed_file import embedded_certificate
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import ChainStatus, TrustStore

CHECKING = [RevocationPolicy.REFUSE, RevocationPolicy.ACCEPT]


@needs_real_data
def test_the_real_authorities_without_lists_refuse_or_raise_an_alarm() -> None:
    signer = x509.load_der_x509_certificate(embedded_certificate(real_octets()))
    at = datetime(2025, 3, 1, tzinfo=UTC)
    real = real_trust()
    refusing, accepting = (
        TrustStore(real.anchors, real.intermediates, revocation=policy) for policy in CHECKING
    )
    assert refusing.verify(signer, at).status is ChainStatus.NO_CRL
    assert "CN=AC IGC-SANTE ELEMENTAIRE ORGANISATIONS" in accepting.verify(signer, at).alarm


@needs_real_crls
@pytest.mark.parametrize("policy", CHECKING)
def test_the_real_test_hierarchy_and_a_certificate_that_is_really_revoked(
    policy: RevocationPolicy,
) -> None:
    """DOMAIN U1.3, U6: the lists of June 2019, the authority's daily one with 1 013 entries."""
    root, daily = lists = real_test_crls()
    at = datetime(2019, 6, 28, 12, tzinfo=UTC)
    assert (daily.number, len(daily.serials), str(daily.scope)) == (1287, 1013, "")
    assert daily.next_update - daily.this_update == timedelta(days=6)
    store = replace(real_test_trust(), revocation=policy, crls=lists)
    revoked = real_test_leaf("test-EL-ORG-emailProtection-revoked-tomwsrevoque.pem")
    good = real_test_leaf("test-SERV-SSL-mock.platines-2017.pem")
    assert store.verify(revoked, at).status is ChainStatus.REVOKED
    assert store.verify(good, at).trusted
    assert not store.verify(good, at).alarm
    assert store.missing_crls(at) == ()
    over = daily.next_update
    assert store.verify(revoked, over).status is ChainStatus.REVOKED
    assert bool(store.refusal_of_all(over)) is (policy is RevocationPolicy.REFUSE)
    alone = store.with_crls([root])
    assert alone.verify(good, at).alarm or alone.verify(good, at).status is ChainStatus.NO_CRL
