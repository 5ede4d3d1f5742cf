"""Forged lists: signatures that are cryptographically valid but of another form.

Signed by hand, so that a refusal can only come from the rule under test, never from an invalid
signature.
"""

import base64
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from mssante_operator.setup.testbed.credential import Credential
from mssante_operator.setup.testbed.signed_list import unsigned_list
from tests.support.lists.hierarchy import NOW, list_signer, listed

DS = "http://www.w3.org/2000/09/xmldsig#"
C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
ENVELOPED = f"{DS}enveloped-signature"

BODY = unsigned_list([listed("a.mssante.fr", "CN=relay.a.fr,O=A,C=FR")], NOW)
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"


def transforms(*algorithms: str, inside: str = "") -> str:
    """A Transforms element; `inside` becomes the content of each transform."""
    found = "".join(f'<Transform Algorithm="{name}">{inside}</Transform>' for name in algorithms)
    return f"<Transforms>{found}</Transforms>"


def reference(
    uri: str = 'URI=""',
    transforms: str = transforms(ENVELOPED, EXCLUSIVE),
    digest_method: str = SHA256,
    *,
    body: bytes = BODY,
) -> str:
    """A Reference with the digest of `body` after its transforms."""
    octets = etree.tostring(etree.fromstring(body), method="c14n", exclusive=True)
    digest = hashlib.sha1 if digest_method.endswith("#sha1") else hashlib.sha256
    value = base64.b64encode(digest(octets).digest()).decode()
    return (
        f"<Reference {uri}>{transforms}"
        f'<DigestMethod Algorithm="{digest_method}"/><DigestValue>{value}</DigestValue></Reference>'
    )


def signed_info(
    references: str = "", *, c14n: str = EXCLUSIVE, method: str = RSA_SHA256, inside: str = ""
) -> str:
    return (
        f'<SignedInfo xmlns="{DS}"><CanonicalizationMethod Algorithm="{c14n}">{inside}'
        f'</CanonicalizationMethod><SignatureMethod Algorithm="{method}"/>'
        f"{references or reference()}</SignedInfo>"
    )


def certificate_text(credential: Credential) -> str:
    return base64.b64encode(credential.certificate.public_bytes(Encoding.DER)).decode()


def key_info(*certificates: str) -> str:
    found = "".join(f"<X509Certificate>{text}</X509Certificate>" for text in certificates)
    return f"<KeyInfo><X509Data>{found}</X509Data></KeyInfo>"


def signature(
    info: str = "",
    *,
    key_information: str = "",
    signer: Credential | None = None,
    extra: str = "",
    opening: str = f'<Signature xmlns="{DS}">',
) -> str:
    """A Signature element with a valid value for `info`, by the key of `signer`."""
    signer = signer or list_signer()
    info = info or signed_info()
    exclusive = f'"{C14N}"' not in info
    octets = etree.tostring(etree.fromstring(info), method="c14n", exclusive=exclusive)
    algorithm = hashes.SHA256()
    if "#rsa-sha1" in info:
        algorithm = hashes.SHA1()  # type: ignore[assignment]  # noqa: S303  the attack itself
    value = base64.b64encode(signer.key.sign(octets, padding.PKCS1v15(), algorithm)).decode()
    return (
        f"{opening}{info}<SignatureValue>{value}</SignatureValue>"
        f"{key_information or key_info(certificate_text(signer))}{extra}</Signature>"
    )


def placed(signature_text: str, body: bytes = BODY) -> bytes:
    """The list with a signature as last child of its root."""
    end = body.rindex(b"</")
    return body[:end] + signature_text.encode() + body[end:]
