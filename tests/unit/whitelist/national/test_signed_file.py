"""The only accepted shape: each hostile or foreign file is refused for exactly one reason.

Attacks of DOMAIN §9.2 and §9.3: signature wrapping, entities, weak algorithms, extra references.
"""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import event, given
from hypothesis import strategies as st

from mssante_operator.setup.testbed.signed_list import unsigned_list
from tests.support.lists import forge
from tests.support.lists.forge import (
    ENVELOPED,
    EXCLUSIVE,
    XPATH,
    placed,
    reference,
    signature,
    signed_info,
    transforms,
)
from tests.support.lists.hierarchy import NOW, list_signer, listed, server, signed_list
from tests.support.lists.real import needs_real_data, real_octets
from whitelist.errors import ListReason, ListRefused
from whitelist.national.signed_file import MAX_LIST_BYTES, embedded_certificate

LIST = signed_list([listed("a.mssante.fr", "CN=relay.a.fr,O=A,C=FR")])
SIGNATURE = LIST[LIST.index(b"<Signature") : LIST.index(b"</ListeBlanche")]
ROOT = LIST[LIST.index(b"<Liste") :]
OPENING = b'<ListeBlancheMSSante xmlns="https://listeblanche.mssante.fr/schema">'
CLOSING = b"</ListeBlancheMSSante>"
BOMB = (
    b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>'
)
# The list as an object inside its signature, referenced by identifier.
ENVELOPING = signature(
    signed_info(reference('URI="#list"')), extra=f'<Object Id="list">{forge.BODY.decode()}</Object>'
).encode()
SIGNER = forge.certificate_text(list_signer())
STRANGER = forge.certificate_text(server("other.mssante.fr"))
KEY_VALUE = (
    "<KeyInfo><KeyValue><RSAKeyValue><Modulus>AQ==</Modulus><Exponent>AQAB</Exponent>"
    "</RSAKeyValue></KeyValue>"
)
INCLUSIVE = '<InclusiveNamespaces xmlns="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="x"/>'

MISPLACED = f"<KeyInfo><X509Data/><X509Certificate>{SIGNER}</X509Certificate></KeyInfo>"
WITH_PREFIXES = transforms(ENVELOPED, EXCLUSIVE, inside=INCLUSIVE)


def refused(data: bytes) -> ListReason:
    with pytest.raises(ListRefused) as caught:
        embedded_certificate(data)
    assert caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value.reason


def test_a_list_of_the_right_shape_gives_its_certificate() -> None:
    expected = list_signer().certificate.public_bytes(Encoding.DER)
    assert embedded_certificate(LIST) == expected
    # By default the forging tools make acceptable lists; otherwise they would prove nothing.
    assert embedded_certificate(placed(signature())) == expected


@needs_real_data
def test_the_real_list_has_the_right_shape() -> None:
    assert len(embedded_certificate(real_octets())) == 2145


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"  \n",
        b"\x00" * 64,
        b"not XML at all",
        b"<\x00",  # libxml2 reports it in two lines
        b"<a>",
        b"<a></b>",
        b"<a>&unknown;</a>",
        LIST + b"<more/>",
        LIST[: len(LIST) // 2],
        LIST[:-1],
        LIST[: LIST.index(b"<Signature")],  # WL-A (DOMAIN §9.5): unsigned and never closed
        LIST.decode().encode("utf-16"),
        LIST.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16"),
        LIST.replace(b"Domaine de test", b"Domaine \xe9"),  # Latin-1 in a UTF-8 file
        b"<a>" * 300 + b"</a>" * 300,  # deeper than libxml2 allows
    ],
)
def test_what_is_not_well_formed(data: bytes) -> None:
    assert refused(data) is ListReason.NOT_WELL_FORMED


@pytest.mark.parametrize("percent", range(100))
def test_truncated_anywhere(percent: int) -> None:
    assert refused(LIST[: len(LIST) * percent // 100]) is ListReason.NOT_WELL_FORMED


def test_too_large() -> None:
    assert refused(b"<a>" + b" " * MAX_LIST_BYTES) is ListReason.TOO_LARGE


@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE ListeBlancheMSSante>",
        BOMB,
        b'<!DOCTYPE l SYSTEM "http://127.0.0.1:1/x.dtd">',
        b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE l [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]>',
        b'<!DOCTYPE l [<!ATTLIST Domaine Id ID "x">]>',
    ],
)
def test_document_types_of_all_kinds(doctype: bytes) -> None:
    assert refused(doctype + ROOT) is ListReason.DTD_FORBIDDEN
    assert (
        refused(doctype + ROOT.replace(b"Domaine de test", b"&x;&d;")) is ListReason.DTD_FORBIDDEN
    )


def test_a_web_page_in_place_of_the_list() -> None:
    assert refused(b"<!DOCTYPE html><html><body>502</body></html>") is ListReason.DTD_FORBIDDEN
    assert refused(b"<html><body>502</body></html>") is ListReason.UNSIGNED


def test_unsigned() -> None:
    assert refused(unsigned_list([], NOW)) is ListReason.UNSIGNED
    assert refused(LIST.replace(forge.DS.encode(), b"urn:not:xmldsig")) is ListReason.UNSIGNED


@pytest.mark.parametrize(
    "data",
    [
        LIST.replace(CLOSING, SIGNATURE + CLOSING),
        LIST.replace(OPENING, OPENING + SIGNATURE),
        LIST.replace(b"<ListeDomaines>", b"<ListeDomaines>" + SIGNATURE),
        placed(signature(extra=f"<Object>{signature()}</Object>")),
        OPENING + ROOT + SIGNATURE + CLOSING,
    ],
)
def test_several_signatures(data: bytes) -> None:
    assert refused(data) is ListReason.SEVERAL_SIGNATURES


@pytest.mark.parametrize(
    "data",
    [
        LIST.replace(SIGNATURE, b"").replace(OPENING, OPENING + SIGNATURE),
        LIST.replace(SIGNATURE, b"").replace(b"<ListeDomaines>", b"<ListeDomaines>" + SIGNATURE),
        LIST.replace(CLOSING, b"<Domaine/>" + CLOSING),
        SIGNATURE,  # the signature as the document itself
        ENVELOPING,
        OPENING + b"<ListeDomaines/>" + ROOT + CLOSING,  # the genuine list inside a forged one
        OPENING + b"<ListeDomaines>" + ROOT + b"</ListeDomaines>" + CLOSING,
    ],
)  # fmt: skip
def test_a_signature_elsewhere(data: bytes) -> None:
    assert refused(data) is ListReason.SIGNATURE_SHAPE


@pytest.mark.parametrize(
    "text",
    [
        # References: by identifier (with which signed content can be wrapped), external, several.
        signature(signed_info(reference('URI="#list"'))),
        signature(signed_info(reference("URI=\"#xpointer(id('list'))\""))),
        signature(signed_info(reference('URI="http://127.0.0.1:1/list.xml"'))),
        signature(signed_info(reference("")))  ,
        signature(signed_info(reference('URI="" Type="x"'))),
        signature(signed_info(reference() + reference())),
        signature(signed_info(reference() + reference('URI="#other"'))),
        signature(signed_info('<Reference URI=""/>')),
        # Transforms: none, one, swapped, another, more, with parameters.
        signature(signed_info(reference(transforms=""))),
        signature(signed_info(reference(transforms="<Transforms/>"))),
        signature(signed_info(reference(transforms=transforms(ENVELOPED)))),
        signature(signed_info(reference(transforms=transforms(EXCLUSIVE, ENVELOPED)))),
        signature(signed_info(reference(transforms=transforms(ENVELOPED, forge.C14N)))),
        signature(signed_info(reference(transforms=transforms(ENVELOPED, EXCLUSIVE, XPATH)))),
        signature(signed_info(reference(transforms=transforms(XPATH, ENVELOPED, EXCLUSIVE)))),
        signature(signed_info(reference(transforms=WITH_PREFIXES))),
        signature(signed_info(inside=INCLUSIVE)),
        # Key information: none, more certificates, other keys, something unreadable.
        signature(key_information=" "),
        signature(key_information="<KeyInfo/>"),
        signature(key_information="<KeyInfo><X509Data/></KeyInfo>"),
        signature(key_information=MISPLACED),
        signature(key_information=forge.key_info(SIGNER, STRANGER)),
        signature(key_information=forge.key_info(STRANGER, SIGNER)),
        signature(key_information=forge.key_info(SIGNER).replace("<KeyInfo>", KEY_VALUE)),
        signature(key_information=forge.key_info(SIGNER) * 2),
        signature(key_information=forge.key_info("")),
        signature(key_information=forge.key_info("<!-- -->" + SIGNER)),
        signature(key_information=forge.key_info("not*base64")),
        signature(key_information=forge.key_info(SIGNER[:-1])),
        signature(key_information=forge.key_info("é")),
        signature(key_information=forge.key_info("<b/>" + SIGNER)),
        # The signature itself.
        signature(extra="<Object/>"),
        signature(opening=f'<Signature xmlns="{forge.DS}" Id="s">'),
        f'<Signature xmlns="{forge.DS}"/>',
        f'<Signature xmlns="{forge.DS}">{signed_info()}</Signature>',
        signature().replace("<SignatureValue>", "<SignatureValue>*"),
        signature().replace("<SignedInfo", '<SignedInfo Id="i"'),
        signature().replace("<SignatureValue>", "<SignatureValue><!-- -->"),
        signature().replace("<DigestValue>", "<DigestValue>%"),
        signature().replace('<X509Data>', '<X509Data xmlns="urn:x">'),
    ],
)  # fmt: skip
def test_a_signature_of_another_shape(text: str) -> None:
    assert refused(placed(text)) is ListReason.SIGNATURE_SHAPE


@pytest.mark.parametrize(
    "info",
    [
        signed_info(method=f"{forge.DS}rsa-sha1"),
        signed_info(method=f"{forge.DS}hmac-sha1"),
        signed_info(method="http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"),
        signed_info(method="http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"),
        signed_info(method="http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"),
        signed_info(c14n=forge.C14N),
        signed_info(c14n=f"{forge.EXCLUSIVE}WithComments"),
        signed_info(reference(digest_method=f"{forge.DS}sha1")),
        signed_info(reference(digest_method="http://www.w3.org/2001/04/xmlenc#sha512")),
    ],
)
def test_other_algorithms(info: str) -> None:
    assert refused(placed(signature(info))) is ListReason.ALGORITHM


def test_the_detail_names_line_and_element() -> None:
    with pytest.raises(ListRefused, match=r"line 13: SignatureMethod has .*rsa-sha1") as caught:
        embedded_certificate(placed(signature(signed_info(method=f"{forge.DS}rsa-sha1"))))
    assert str(caught.value).startswith("algorithm: ")


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_octets_are_refused(data: bytes) -> None:
    assert refused(data) in {
        ListReason.NOT_WELL_FORMED,
        ListReason.UNSIGNED,
        ListReason.DTD_FORBIDDEN,
    }


@given(st.data())
def test_any_splice_is_accepted_whole_or_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(LIST)))
    end = data.draw(st.integers(start, min(len(LIST), start + 40)))
    middle = data.draw(
        st.sampled_from([b"", b"<", b"<!--", b"]]>", SIGNATURE, LIST[start:end] * 2])
    )
    try:
        assert embedded_certificate(LIST[:start] + middle + LIST[end:])
    except ListRefused:
        event("refused")
