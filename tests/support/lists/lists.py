"""White lists made by hand, unsigned, for tests of the steps after verification."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from lxml import etree

from mssante_operator.setup.testbed.signed_list import unsigned_list
from tests.support.lists.hierarchy import NOW, listed
from whitelist.national.document import read_document
from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import CertificateFacts

SIGNER = CertificateFacts(
    subject=DistinguishedName.parse("CN=alb.mssante.fr,O=ÉDITEUR DE LISTE,C=FR"),
    issuer=DistinguishedName.parse("CN=AC,C=FR"),
    serial=0xC0FFEE,
    fingerprint="00" * 32,
    not_before=NOW - timedelta(days=1),
    not_after=NOW + timedelta(days=1),
)


def made(
    pairs: Iterable[tuple[str, str]],
    generated_at: datetime = NOW,
    description: str = "Domaine de test",
) -> tuple[bytes, WhiteList]:
    """Return the octets of a list of (domain, name) pairs, and the parsed list."""
    data = unsigned_list((listed(*pair, description) for pair in pairs), generated_at)
    document = read_document(etree.fromstring(data))
    return data, WhiteList.build(document, SIGNER, hashlib.sha256(data).hexdigest())


def of_size(domains: int, generated_at: datetime = NOW) -> tuple[bytes, WhiteList]:
    """The same with `domains` domains, each with a name."""
    return made(((f"d{n}.mssante.fr", f"CN=s{n}.fr,C=FR") for n in range(domains)), generated_at)
