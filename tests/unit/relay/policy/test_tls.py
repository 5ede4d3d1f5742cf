"""A renewed certificate is used when its files change."""

import ssl
from pathlib import Path

import pytest

from mssante_operator.setup.testbed.certificate_profile import Lifetime, Subject
from relay.policy import tls
from relay.policy.tls import Identity, ReloadingContext
from tests.support.clock import Monotonic
from tests.support.lists.hierarchy import NOW, hierarchy, trust
from whitelist.errors import TrustFileError
from whitelist.pki.trust_store import TrustStore


class Making:
    """Makes contexts, and fails on demand."""

    def __init__(self) -> None:
        self.failing = False
        self.calls = 0

    def __call__(self, identity: Identity, store: TrustStore) -> ssl.SSLContext:
        self.calls += 1
        if self.failing:
            raise TrustFileError(
                identity.certificate, "cannot be used (Input/output error)", "look"
            )
        return tls.server_context(identity, store)


def renew(identity: Identity) -> None:
    subject = Subject("smtp.a.fr", "1750000001", "CHU DE TEST", "Paris (75)")
    issued = hierarchy().issue_server(subject, ["smtp.a.fr"], Lifetime.of_leaf(NOW))
    issued.save(identity.certificate, identity.key)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    made = Identity(tmp_path / "server.pem", tmp_path / "server.key")
    renew(made)
    return made


def test_a_fault_of_the_disk_of_a_moment_loses_no_renewal(
    identity: Identity,
) -> None:
    # The files do not change again: only loaded files count as seen.
    making, clock = Making(), Monotonic()
    renewing = ReloadingContext(making, identity, trust(), clock)
    first = renewing()
    assert renewing() is first
    renew(identity)
    making.failing = True
    assert renewing() is first
    making.failing = False
    assert renewing() is first  # not at each handshake
    clock.now += tls.FAILED_SECONDS - 1
    assert renewing() is first
    assert making.calls == 2
    clock.now += 1
    second = renewing()
    assert second is not first
    assert renewing() is second
    assert making.calls == 3


def test_half_a_renewal_leaves_the_old_certificate_until_the_other_half(
    identity: Identity,
) -> None:
    making = Making()
    renewing = ReloadingContext(making, identity, trust())
    first = renewing()
    old = identity.certificate.read_bytes()
    renew(identity)
    new = identity.certificate.read_bytes()
    identity.certificate.write_bytes(old)
    assert renewing() is first
    identity.certificate.write_bytes(new)
    assert renewing() is not first
