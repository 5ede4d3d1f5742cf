"""Certificates covered by a partial list (RFC 5280 §5.2.5, §6.3.3)."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssante_operator.setup.testbed.certificate_profile import authority_name
from tests.support.lists.hierarchy import NOW, hierarchy, server, spare_key
from whitelist.pki.crl_scope import COMPLETE, EVERY_REASON, CrlScope, Point

FIRST, SECOND = "http://a.fr/1.crl", "http://a.fr/2.crl"
PLAIN = server("a.fr").certificate
AUTHORITY = hierarchy().intermediate.certificate
SUPERSEDED = frozenset({x509.ReasonFlags.superseded})
RELATIVE = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "part 1")])
OTHER = x509.DirectoryName(authority_name("OTHER"))


def uri(*urls: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url) for url in urls]


def bearing(*points: x509.DistributionPoint) -> x509.Certificate:
    """A server certificate with these distribution points."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(AUTHORITY.subject)
        .public_key(spare_key().public_key())
        .serial_number(3)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.CRLDistributionPoints(points), critical=False)
        .sign(hierarchy().intermediate.key, hashes.SHA256())
    )


def point(*urls: str) -> x509.DistributionPoint:
    return x509.DistributionPoint(uri(*urls), None, None, None)


def of_points(*points: Point) -> CrlScope:
    return CrlScope(points=frozenset(points))


def test_a_list_without_the_extension_is_complete() -> None:
    assert CrlScope.of(None) == COMPLETE
    assert COMPLETE.covers(PLAIN)
    assert COMPLETE.covers(AUTHORITY)
    assert str(COMPLETE) == ""


def test_the_extension_is_read() -> None:
    found = CrlScope.of(
        x509.IssuingDistributionPoint(
            full_name=uri(FIRST, SECOND),
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=SUPERSEDED,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
    )
    assert found == CrlScope(
        authorities=False, points=frozenset(uri(FIRST, SECOND)), reasons=SUPERSEDED
    )
    assert str(found) == (
        f"users only, distribution point {FIRST} or {SECOND}, reasons superseded only"
    )
    relative = CrlScope.of(
        x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=RELATIVE,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
    )
    assert relative == of_points(RELATIVE)
    assert "part 1" in str(relative)


def test_users_and_authorities() -> None:
    users, authorities = CrlScope(authorities=False), CrlScope(users=False)
    assert users.covers(PLAIN)
    assert not users.covers(AUTHORITY)
    assert authorities.covers(AUTHORITY)
    assert not authorities.covers(PLAIN)


@pytest.mark.parametrize(
    ("certificate", "covered"),
    [
        (PLAIN, False),
        (bearing(point(FIRST)), True),
        (bearing(point(SECOND)), False),
        (bearing(point("ldap://a.fr/x", FIRST)), True),
        (bearing(point(SECOND), point(FIRST)), True),
        (bearing(x509.DistributionPoint(uri(FIRST), None, None, [OTHER])), False),
        (bearing(x509.DistributionPoint(None, RELATIVE, None, None)), False),
    ],
    ids=["none", "same", "other", "one of two names", "one of two points", "indirect", "relative"],
)
def test_a_list_of_a_point_covers_what_names_it(
    certificate: x509.Certificate, *, covered: bool
) -> None:
    assert of_points(*uri(FIRST)).covers(certificate) is covered


def test_a_point_relative_to_the_issuer() -> None:
    scope = of_points(RELATIVE)
    assert scope.covers(bearing(x509.DistributionPoint(None, RELATIVE, None, None)))
    assert not scope.covers(bearing(point(FIRST)))


def test_every_reason_is_what_a_list_may_be_cut_by() -> None:
    # RFC 5280 §4.2.1.13: ReasonFlags has eight used flags.
    assert len(EVERY_REASON) == 8
    assert x509.ReasonFlags.key_compromise in EVERY_REASON
    assert x509.ReasonFlags.unspecified not in EVERY_REASON
