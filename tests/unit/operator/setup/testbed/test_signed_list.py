"""Signed lists in the format of the national list (DOMAIN §2.2, §2.5)."""

import re
from datetime import timedelta, timezone

import pytest

from mssante_operator.setup.testbed.signed_list import unsigned_list
from tests.support.lists.hierarchy import NOW, SIGNER, list_signer, listed, signed_list, trust
from tests.support.lists.real import needs_real_data, real_octets
from whitelist.national.reader import read_list

ENTRIES = [
    listed("a.mssante.fr", "CN=relay.a.fr,OU=1,O=A,C=FR"),
    listed("b.mssante.fr", 'CN=relay.b.fr,OU=1,O="B & <C>",C=FR', "Été & <hiver> \u00a0]]>"),
]
LIST = signed_list(ENTRIES)


def test_operators_accept_it_and_read_what_was_written() -> None:
    found = read_list(LIST, trust(), SIGNER, NOW)
    assert found.generated_at == NOW - timedelta(hours=1)
    assert [entry.domain for entry in found.document.entries] == ["a.mssante.fr", "b.mssante.fr"]
    second = found.document.entries[1]
    assert second.dn_text == ENTRIES[1].dn
    assert second.description == ENTRIES[1].description
    assert second.responsible_contact == ENTRIES[1].responsible_contact
    assert second.updated_at == "2026-10-23T12:00:00Z"
    assert found.signer.serial == list_signer().certificate.serial_number


def skeleton(octets: bytes) -> list[str]:
    """The file without the entries after the first, with texts and Base64 blanked."""
    text = octets.decode()
    first = text[: text.index("</Domaine>")]
    last = text[text.rindex("</Domaine>") :]
    base64_line = r"[A-Za-z0-9+/=]{1,76}"
    last = re.sub(rf">{base64_line}(&#13;\n{base64_line})*<", ">BASE64<", last)
    return [re.sub(r">[^<>\n]+<", ">TEXT<", first), last]


@needs_real_data
def test_it_is_laid_out_octet_for_octet_as_the_real_one() -> None:
    assert skeleton(LIST) == skeleton(real_octets())


def test_the_base64_has_the_carriage_returns_of_the_real_one() -> None:
    # DOMAIN §2.3: &#13; only occurs inside SignatureValue and X509Certificate.
    assert b"&#13;\n" in LIST[LIST.index(b"<SignatureValue>") : LIST.index(b"</SignatureValue>")]
    assert b"&#13;\n" in LIST[LIST.index(b"<X509Certificate>") :]
    assert b"\r" not in LIST
    assert b"&#13;" not in LIST[: LIST.index(b"<SignatureValue>")]


def test_times_are_written_in_utc() -> None:
    paris = NOW.astimezone(timezone(timedelta(hours=1)))
    assert b"<DateDeGeneration>2026-11-22T12:00:00Z<" in unsigned_list([], paris)


@pytest.mark.parametrize("text", ["\x00", "\x1b[0m", "\ufffe"])
def test_what_xml_cannot_hold_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="XML cannot hold"):
        signed_list([listed("a.mssante.fr", "CN=a", text)])
