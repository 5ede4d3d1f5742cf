"""The content of the list (DOMAIN §2.2, §2.3, §9.2, §9.10)."""

from datetime import UTC, datetime

import pytest
from lxml import etree

from mssante_operator.setup.testbed.signed_list import unsigned_list
from tests.support.lists.hierarchy import NOW, listed
from tests.support.lists.real import needs_real_data, real_octets
from whitelist.errors import ListReason, ListRefused
from whitelist.national.document import ListDocument, read_document
from whitelist.pki.distinguished_name import DistinguishedName

LIST = unsigned_list(
    [
        listed("a.mssante.fr", "CN=relay.a.fr,O=A,C=FR", "Domaine & <co>"),
        listed("b.mssante.fr", "CN=relay.b.fr,O=B,C=FR"),
    ],
    NOW,
).decode()


def read(text: str) -> ListDocument:
    return read_document(etree.fromstring(text.encode()))


def with_domain(domain: str) -> ListDocument:
    return read(LIST.replace("a.mssante.fr", domain))


def test_reads_entries_in_order() -> None:
    document = read(LIST)
    assert document.generated_at == NOW
    assert document.warnings == ()
    first, second = document.entries
    assert first.domain == "a.mssante.fr"
    assert first.dn_text == "CN=relay.a.fr,O=A,C=FR"
    assert first.name == DistinguishedName.parse(first.dn_text)
    assert first.description == "Domaine & <co>"
    assert first.responsible_contact == "01 00 00 00 00, responsable@example.mssante.fr"
    assert first.support_contact == "01 00 00 00 00, support@example.mssante.fr"
    assert first.updated_at == "2026-10-23T12:00:00Z"
    assert second.domain == "b.mssante.fr"


def test_unknown_elements_and_attributes_are_ignored() -> None:
    more = LIST.replace("<Nom>", '<Nouveau x="1"><Nom>x</Nom></Nouveau><Nom lang="fr">')
    more = more.replace("<ListeDomaines>", "<Version>2</Version><ListeDomaines><Groupe/>")
    more = more.replace("<Description>", '<Nom xmlns="urn:other">x</Nom><Description>')
    assert read(more) == read(LIST)


def test_domains_are_trimmed_and_in_lower_case() -> None:
    assert with_domain(" UC-CMP.mssante.fr\n").entries[0].domain == "uc-cmp.mssante.fr"


@pytest.mark.parametrize(
    "domain",
    [
        "interop-mssante.apicrypt.org",  # DOMAIN §9.11: not only .mssante.fr
        "1001-services.mssante.fr",
        "15-20.mssante.fr",
        "a.b.c.d.e.mssante.fr",
        "xn--hpital-0ya.mssante.fr",
        "a" * 63 + ".fr",
    ],
)
def test_dns_names(domain: str) -> None:
    assert with_domain(domain).entries[0].domain == domain


@pytest.mark.parametrize(
    "domain",
    [
        "sessad@ase.ditepbeziers.mssante.fr",  # DOMAIN §9.10: a real entry
        "",
        "mssante",
        "*.mssante.fr",
        ".mssante.fr",
        "a..mssante.fr",
        "a.mssante.fr.",
        "-a.mssante.fr",
        "a-.mssante.fr",
        "a_b.mssante.fr",
        "a b.mssante.fr",
        "hôpital.mssante.fr",
        "\u212a.mssante.fr",  # the Kelvin sign, whose lower case is k
        "192.0.2.1",
        "a" * 64 + ".fr",
        "a." * 126 + "fr",
    ],
)
def test_an_entry_without_dns_name_is_skipped_with_a_warning(domain: str) -> None:
    document = with_domain(domain)
    assert [entry.domain for entry in document.entries] == ["b.mssante.fr"]
    assert document.warnings == (f"entry 1 skipped: Nom {domain!r} is not a DNS name",)


def test_an_entry_without_readable_name_is_skipped_with_a_warning() -> None:
    document = read(LIST.replace("CN=relay.a.fr", "relay.a.fr"))
    assert [entry.domain for entry in document.entries] == ["b.mssante.fr"]
    (warning,) = document.warnings
    assert warning.startswith("entry 1 skipped: DNCertificatOperateur of a.mssante.fr: not a dist")


CHILDREN = (
    "Nom",
    "Description",
    "DNCertificatOperateur",
    "ResponsableContact",
    "SupportContact",
    "DateMAJ",
)


@pytest.mark.parametrize("child", [*CHILDREN, "DateDeGeneration", "ListeDomaines"])
def test_every_element_is_required_once_and_in_the_namespace(child: str) -> None:
    for text in (
        LIST.replace(f"<{child}>", f"<X{child}>").replace(f"</{child}>", f"</X{child}>"),
        LIST.replace(f"<{child}>", f"<{child}/><{child}>"),
        LIST.replace(f"<{child}>", f'<{child} xmlns="urn:other">'),
    ):
        with pytest.raises(ListRefused, match=f"{child} instead of one") as caught:
            read(text)
        assert caught.value.reason is ListReason.WRONG_SCHEMA


def test_the_refusal_names_the_entry() -> None:
    with pytest.raises(ListRefused, match="entry 2 has 0 DateMAJ"):
        read(
            "<DateMAJ>".join(LIST.rsplit("<DateMAJ>", 1)[:1])
            + "</Domaine></ListeDomaines></ListeBlancheMSSante>"
        )


@pytest.mark.parametrize("child", [*CHILDREN, "DateDeGeneration"])
def test_markup_inside_text_is_refused(child: str) -> None:
    with pytest.raises(ListRefused, match="markup"):
        read(LIST.replace(f"<{child}>", f"<{child}><b/>"))


@pytest.mark.parametrize(
    "text",
    [
        "<ListeBlancheMSSante/>",
        LIST.replace("https://listeblanche", "http://listeblanche"),
        LIST.replace("ListeBlancheMSSante", "ListeNoire"),
    ],
)
def test_another_root_is_refused(text: str) -> None:
    with pytest.raises(ListRefused, match="the root is") as caught:
        read(text)
    assert caught.value.reason is ListReason.WRONG_SCHEMA


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-02-28T15:42:07Z", datetime(2025, 2, 28, 15, 42, 7, tzinfo=UTC)),
        ("2025-02-28T16:42:07.5+01:00", datetime(2025, 2, 28, 15, 42, 7, 500000, tzinfo=UTC)),
    ],
)
def test_generation_times(text: str, instant: datetime) -> None:
    assert read(LIST.replace("2026-11-22T12:00:00Z", text)).generated_at == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2025-02-28",
        "2025-02-28T15:42:07",
        "2025-02-30T15:42:07Z",
        "20250228T154207Z",
    ],
)
def test_generation_times_that_are_none(text: str) -> None:
    with pytest.raises(ListRefused, match="is not a date and time with a time zone") as caught:
        read(LIST.replace("2026-11-22T12:00:00Z", text))
    assert caught.value.reason is ListReason.WRONG_SCHEMA


@needs_real_data
def test_the_real_list_reads_whole() -> None:
    document = read_document(etree.fromstring(real_octets()))
    assert len(document.entries) == 6494
    assert document.warnings == ()
    # DOMAIN §2.3: 26 entries were updated one second after the list was generated; no objection.
    late = [entry for entry in document.entries if entry.updated_at > "2025-02-28T15:42:07Z"]
    assert len(late) == 26
