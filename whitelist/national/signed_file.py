"""The only shape of signed file that is accepted as a white list.

UTF-8 XML without document type; a single enveloped signature of a fixed form is the last child of
the root (DOMAIN §2.2, §2.5). Any other file is refused before its certificate or signature is used:
other references, transforms or algorithms, several signatures, a signature elsewhere, a `KeyInfo`
with missing or additional content (DOMAIN §9.2, §9.3). Entities, network and DTD loading are off,
and libxml2 keeps its limits on depth and text.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from types import MappingProxyType

from lxml import etree

from whitelist.errors import ListReason, ListRefused

MAX_LIST_BYTES = 32 * 1024 * 1024
"""Largest list that is read, in octets; the real list had 3.7 MB in 2025 (DOMAIN §2.3)."""

MAX_MARKS = 400_000
"""Most `<` and most `=` in a list; the real list of 2025 has 91 000 and 32 000.

Each element or attribute takes at least a hundred octets of memory, however short it is.
"""
MAX_BASE64 = 16 * 1024
"""Longest value in the signature, in characters; a certificate of IGC-Santé has 3 000."""

ADVICE = "keep the list in force and tell its publisher"
"""Advice at the end of a message about a faulty white list."""

_DS = "http://www.w3.org/2000/09/xmldsig#"
_ENVELOPED = f"{_DS}enveloped-signature"
_EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_NONE: Mapping[str, str] = MappingProxyType({})

# The signature's elements in the order of the document: (depth, name, attributes).
_SHAPE: tuple[tuple[int, str, Mapping[str, str]], ...] = (
    (0, "Signature", _NONE),
    (1, "SignedInfo", _NONE),
    (2, "CanonicalizationMethod", {"Algorithm": _EXCLUSIVE_C14N}),
    (2, "SignatureMethod", {"Algorithm": _RSA_SHA256}),
    (2, "Reference", {"URI": ""}),
    (3, "Transforms", _NONE),
    (4, "Transform", {"Algorithm": _ENVELOPED}),
    (4, "Transform", {"Algorithm": _EXCLUSIVE_C14N}),
    (3, "DigestMethod", {"Algorithm": _SHA256}),
    (3, "DigestValue", _NONE),
    (1, "SignatureValue", _NONE),
    (1, "KeyInfo", _NONE),
    (2, "X509Data", _NONE),
    (3, "X509Certificate", _NONE),
)
_ALGORITHMS = ("CanonicalizationMethod", "SignatureMethod", "DigestMethod")
_BASE64 = ("DigestValue", "SignatureValue", "X509Certificate")


def parser() -> etree.XMLParser:
    """Return a parser for hostile XML; a fixed encoding, so that text searches see everything."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
    )


def embedded_certificate(data: bytes) -> bytes:
    """Check the file and its signature's shape; return the DER octets of its `X509Certificate`.

    Raises ListRefused with the first reason in this order: size, document type, well-formedness,
    number of signatures, place, shape and algorithms.
    """
    return _octets(_check_shape(_only_signature(_parse(data))))


def _parse(data: bytes) -> etree._Element:
    if len(data) > MAX_LIST_BYTES:
        raise ListRefused(
            ListReason.TOO_LARGE, f"the file exceeds {MAX_LIST_BYTES} octets; is it the white list?"
        )
    if max(data.count(b"<"), data.count(b"=")) > MAX_MARKS:
        raise ListRefused(
            ListReason.TOO_LARGE,
            f"the file has more than {MAX_MARKS} elements or attributes; is it the white list?",
        )
    # Before any parsing. The list has no comment or CDATA that could contain these octets.
    if b"<!DOCTYPE" in data:
        raise ListRefused(
            ListReason.DTD_FORBIDDEN,
            "the file declares a document type, which the white list never does; is it a web page?",
        )
    try:
        return etree.fromstring(data, parser())
    except etree.XMLSyntaxError as error:
        raise ListRefused(
            ListReason.NOT_WELL_FORMED,
            f"not well-formed XML: {error.msg or 'the file is empty'}; fetch it again, whole",
        ) from error


def _only_signature(root: etree._Element) -> etree._Element:
    signatures = list(islice(root.iter(f"{{{_DS}}}Signature"), 2))
    if not signatures:
        raise ListRefused(ListReason.UNSIGNED, "the file has no signature; use the published list")
    if len(signatures) > 1:
        raise ListRefused(
            ListReason.SEVERAL_SIGNATURES, f"several signatures instead of one; {ADVICE}"
        )
    signature = signatures[0]
    if signature.getparent() is not root or next(signature.itersiblings("*"), None) is not None:
        raise _misshapen(signature, "is not the last child of the root")
    return signature


def _check_shape(signature: etree._Element) -> etree._Element:
    """Compare the signature with the expected shape; return its last element, the certificate."""
    last = signature
    for expected, found in zip_longest(_SHAPE, _walk(signature)):
        if found is None:
            raise _misshapen(signature, f"ends where {expected[1]} is expected")
        depth, last = found
        if expected is None:
            raise _misshapen(last, "is one element too many")
        if (depth, last.tag) != (expected[0], f"{{{_DS}}}{expected[1]}"):
            raise _misshapen(last, f"stands where {expected[1]} is expected")
        if dict(last.attrib) != expected[2]:
            problem = f"has the attributes {dict(last.attrib)}, not {dict(expected[2])}"
            reason = (
                ListReason.ALGORITHM if expected[1] in _ALGORITHMS else ListReason.SIGNATURE_SHAPE
            )
            raise _misshapen(last, problem, reason)
        if expected[1] in _BASE64:
            _octets(last)
    return last


def _walk(element: etree._Element, depth: int = 0) -> Iterator[tuple[int, etree._Element]]:
    yield depth, element
    for child in element.iterchildren("*"):
        yield from _walk(child, depth + 1)


def _octets(element: etree._Element) -> bytes:
    """Decode an element of Base64; the real list breaks its lines with CR LF (DOMAIN §2.3)."""
    text = element.text or ""
    if len(text) > MAX_BASE64:
        raise _misshapen(element, f"has {len(text)} characters, more than {MAX_BASE64}")
    text = "".join(text.split())
    if not text:
        raise _misshapen(element, "is empty")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _misshapen(element, f"is not Base64 ({error})") from error


def _misshapen(
    element: etree._Element, problem: str, reason: ListReason = ListReason.SIGNATURE_SHAPE
) -> ListRefused:
    name = etree.QName(element).localname
    return ListRefused(reason, f"line {element.sourceline}: {name} {problem}; {ADVICE}")
