"""Queries to a list (DOMAIN §9.7, §9.10, §9.11, §9.20)."""

import dataclasses
from datetime import UTC, datetime

import pytest
from lxml import etree

from mssante_operator.setup.testbed.signed_list import ListedDomain, unsigned_list
from tests.support.lists.hierarchy import NOW, list_signer, listed, signed_list, trust
from tests.support.lists.hierarchy import SIGNER as PUBLISHER
from tests.support.lists.real import needs_real_data, real_octets, real_trust
from whitelist.national.document import read_document
from whitelist.national.lookup import WhiteList
from whitelist.national.reader import read_list
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import CertificateFacts

A = DistinguishedName.parse("CN=relay.a.fr,OU=1,O=CHU  A,C=FR")
B = DistinguishedName.parse("CN=relay.b.fr,OU=1,O=CHU B,C=FR")
C = DistinguishedName.parse("CN=relay.c.fr,C=FR")
SIGNER = CertificateFacts.from_certificate(list_signer().certificate)


def white_list(*entries: ListedDomain) -> WhiteList:
    document = read_document(etree.fromstring(unsigned_list(entries, NOW)))
    return WhiteList.build(document, SIGNER, "00" * 32)


LIST = white_list(
    listed("a.mssante.fr", 'CN=relay.a.fr,OU=1,O="CHU  A",C=FR', "first"),
    listed("A.MSSANTE.FR", "CN=relay.a.fr, OU=1, O=CHU A, C=FR", "second"),
    listed("a.mssante.fr", "CN=relay.b.fr,OU=1,O=CHU B,C=FR"),
    listed("sub.a.mssante.fr", "CN=relay.b.fr,OU=1,O=CHU B,C=FR"),
    listed("not@a.domain", "CN=relay.b.fr,OU=1,O=CHU B,C=FR"),
)


def test_counts() -> None:
    assert (LIST.entries, LIST.domains, LIST.dn_strings, LIST.names) == (4, 2, 3, 2)
    assert len(LIST.warnings) == 1
    assert LIST.generated_at == NOW
    assert LIST.signer is SIGNER
    assert LIST.digest == "00" * 32


def test_several_names_speak_for_a_domain_and_one_for_several() -> None:
    # DOMAIN §9.20
    assert LIST.names_of("a.mssante.fr") == {A, B}
    assert LIST.names_of("sub.a.mssante.fr") == {B}
    assert LIST.domains_of(B) == {"a.mssante.fr", "sub.a.mssante.fr"}
    assert LIST.domains_of(A) == {"a.mssante.fr"}
    assert LIST.domains_of(C) == frozenset()
    assert LIST.covers(A, "a.mssante.fr")
    assert not LIST.covers(A, "sub.a.mssante.fr")
    assert not LIST.covers(C, "a.mssante.fr")
    assert LIST.lists(A)
    assert not LIST.lists(C)


def test_letter_case_of_a_domain_does_not_count() -> None:
    assert LIST.covers(B, "Sub.A.MSSante.FR")


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "mssante.fr",
        "x.a.mssante.fr",
        "xa.mssante.fr",
        "*.mssante.fr",
        "a.mssante.fr.",
        " a.mssante.fr",
        "a.mssante.fr.evil.fr",
        "not@a.domain",
        "\u0430.mssante.fr",
    ],
)
def test_only_the_exact_domain_matches(domain: str) -> None:
    # DOMAIN §9.11: no suffix, no wildcard
    assert LIST.names_of(domain) == frozenset()
    assert LIST.entry_for(B, domain) is None


def test_letters_that_lower_to_ascii_do_not_match() -> None:
    kelvin = white_list(listed("k.mssante.fr", "CN=relay.a.fr,C=FR"))
    assert kelvin.names_of("K.mssante.fr")
    assert "\u212a".lower() == "k"
    assert not kelvin.names_of("\u212a.mssante.fr")


def test_a_name_read_from_a_certificate_finds_its_domains() -> None:
    subject = DistinguishedName.from_certificate(list_signer().certificate)
    organization = 'O="CAPGEMINI TECHNOLOGY  SERVICES",ST=Hauts-de-Seine (92),C=FR'
    found = white_list(listed("a.fr", f"CN=ALB.mssante.fr, OU=347976684200724,{organization}"))
    assert found.covers(subject, "a.fr")


def test_the_evidence_is_the_first_entry_as_the_list_spells_it() -> None:
    entry = LIST.entry_for(A, "a.mssante.fr")
    assert entry is not None
    assert entry.dn_text == 'CN=relay.a.fr,OU=1,O="CHU  A",C=FR'
    assert entry.description == "first"


def test_a_list_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LIST.digest = "11"  # type: ignore[misc]  # what is tested
    with pytest.raises(AttributeError):
        LIST.names_of("a.mssante.fr").add(C)  # type: ignore[attr-defined]  # what is tested


@pytest.mark.integration
@needs_real_data
def test_the_real_list() -> None:
    real = read_list(
        real_octets(), real_trust(), "alb.mssante.fr", datetime(2025, 3, 1, tzinfo=UTC)
    )
    # DOMAIN §9.7
    assert (real.entries, real.domains, real.dn_strings, real.names) == (6494, 4944, 391, 383)
    assert real.generated_at == datetime(2025, 2, 28, 15, 42, 7, tzinfo=UTC)
    assert real.digest == "c14b71352b39cddce9b78b2eb1ce6cacb7e87b605ade40d95fae858797ad4761"
    # DOMAIN §2.3: the two servers of Mon espace santé, and the largest name.
    assert {name.common_name for name in real.names_of("patient.mssante.fr")} == {
        "smtps1.ens.atos-infogerance.fr",
        "smtps2.ens.atos-infogerance.fr",
    }
    medimail = DistinguishedName.parse(
        "CN=medimail-asip.mipih.fr,OU=318310021300028,O=GIP MIPIH,ST=Haute-Garonne (31),C=FR"
    )
    assert len(real.domains_of(medimail)) == 2729
    names = [len(real.names_of(entry.domain)) for entry in real.document.entries]
    assert max(names) == 5
    by_domain = {entry.domain: len(real.names_of(entry.domain)) for entry in real.document.entries}
    assert [list(by_domain.values()).count(n) for n in range(1, 6)] == [3886, 705, 246, 103, 4]
    # DOMAIN §2.4: the audit domain of a listed name that another certificate must not use
    audit = "cert-no-match-audit.espacedeconfiance.mssante.fr"
    assert real.names_of(audit)
    assert not real.covers(medimail, audit)


def test_departments_are_compared_loosely_on_demand_only() -> None:
    # DOMAIN §9.8: `Paris (75)` and `Paris(75)` differ unless configured otherwise.
    entry = "CN=smtp-1.sesan.santnet.com,OU=1750048886,O=GIP SESAN,ST=Paris (75),C=FR"
    data = signed_list([listed("b.mssante.fr", entry)])
    other = DistinguishedName.parse(entry.replace("Paris (75)", "Paris(75)"))
    strict = read_list(data, trust(), PUBLISHER, NOW)
    assert not strict.lists(other)
    assert not strict.covers(other, "b.mssante.fr")
    loose = read_list(data, trust(), PUBLISHER, NOW, loose_department=True)
    assert loose.covers(other, "b.mssante.fr")
    assert loose.covers(DistinguishedName.parse(entry), "b.mssante.fr")
    assert loose.domains_of(other) == {"b.mssante.fr"}
    assert loose.entry_for(other, "b.mssante.fr") is not None
    assert not loose.lists(DistinguishedName.parse(entry.replace("(75)", "(76)")))
    # Nor is a certificate's spelling changed for a strict list.
    written = signed_list([listed("b.mssante.fr", str(other))])
    spelled = read_list(written, trust(), PUBLISHER, NOW)
    assert spelled.covers(other, "b.mssante.fr")
    assert not spelled.covers(DistinguishedName.parse(entry), "b.mssante.fr")


def test_blanks_count_in_all_but_the_department_however_loosely_it_is_compared() -> None:
    entry = "CN=smtp-1.sesan.santnet.com,OU=1750048886,O=GIP (SESAN),ST=Paris (75),C=FR"
    data = signed_list([listed("b.mssante.fr", entry)])
    loose = read_list(data, trust(), PUBLISHER, NOW, loose_department=True)
    assert loose.covers(DistinguishedName.parse(entry), "b.mssante.fr")
    other = DistinguishedName.parse(entry.replace("GIP (", "GIP("))
    assert not loose.covers(other, "b.mssante.fr")
