"""Signed white list, octet for octet in the format of the national list (DOMAIN §2.2, §2.5).

Declaration, namespaces, indentation, order of elements, position and form of the signature, even
the carriage returns in its Base64, are those of the real file, so that any reader accepts both.
For `mssante init`, demos and tests; only its publisher signs the national list.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from lxml import etree
from signxml.algorithms import CanonicalizationMethod, SignatureConstructionMethod
from signxml.signer import XMLSigner

from whitelist.national.document import NAMESPACE

from .credential import Credential

_DS = "http://www.w3.org/2000/09/xmldsig#"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(frozen=True, slots=True)
class ListedDomain:
    """Entry of a list. `dn`: DN of the certificate, as text."""

    domain: str
    dn: str
    description: str
    updated_at: datetime
    responsible_contact: str = "01 00 00 00 00, responsable@example.mssante.fr"
    support_contact: str = "01 00 00 00 00, support@example.mssante.fr"


def build_signed_list(
    entries: Iterable[ListedDomain], generated_at: datetime, signer: Credential
) -> bytes:
    """Build and sign a list of `entries`, in this order; times are aware, written in UTC.

    Raises ValueError for a text that XML cannot hold, such as a control character.
    """
    xml = XMLSigner(
        method=SignatureConstructionMethod.enveloped,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    # The real signature declares a default namespace and no prefix.
    xml.namespaces = {None: _DS}  # type: ignore[dict-item]  # signxml takes None, as lxml does
    try:
        root = etree.fromstring(unsigned_list(entries, generated_at))
    except etree.XMLSyntaxError as error:
        raise ValueError(f"XML cannot hold a text of this list: {error.msg}") from error
    signed = xml.sign(root, key=signer.key, cert=[signer.certificate])
    signature = signed[-1]
    for element in signature.iter("SignatureValue", "X509Certificate"):
        element.text = _wrapped(base64.b64decode(element.text or ""))
    return _DECLARATION + etree.tostring(signed, encoding="utf-8", xml_declaration=False)


def unsigned_list(entries: Iterable[ListedDomain], generated_at: datetime) -> bytes:
    """The same list without a signature, which every operator must refuse."""
    domains = "".join(map(_domain, entries))
    return (
        f'<ListeBlancheMSSante xmlns="{NAMESPACE}">\n'
        f"    <DateDeGeneration>{_instant(generated_at)}</DateDeGeneration>\n"
        f"    <ListeDomaines>\n{domains}    </ListeDomaines>\n"
        "</ListeBlancheMSSante>"
    ).encode()


def _domain(entry: ListedDomain) -> str:
    children: Sequence[tuple[str, str]] = (
        ("Nom", entry.domain),
        ("Description", entry.description),
        ("DNCertificatOperateur", entry.dn),
        ("ResponsableContact", entry.responsible_contact),
        ("SupportContact", entry.support_contact),
        ("DateMAJ", _instant(entry.updated_at)),
    )
    lines = "".join(f"            <{name}>{escape(text)}</{name}>\n" for name, text in children)
    return f"        <Domaine>\n{lines}        </Domaine>\n"


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _wrapped(octets: bytes) -> str:
    """Base64 in lines of 76 characters, separated by CR LF, like the real signer."""
    return "\r\n".join(base64.encodebytes(octets).decode("ascii").splitlines())
