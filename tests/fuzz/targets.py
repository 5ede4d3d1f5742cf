"""What is fuzzed: each target takes any octets and may raise nothing.

The one invariant: hostile input ends in a value or in the error that the module documents, never in
another exception, a hang or an acceptance.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from relay.address import parse_address, parse_path
from relay.errors import SyntaxRefused
from relay.framing import DataDecoder
from relay.headers import read_header
from relay.parameters import parse_mail_parameters
from tests.support.hierarchy import NOW, SIGNER, listed, signed_list, trust
from whitelist.document import read_document
from whitelist.errors import InvalidName, ListRefused
from whitelist.loading import read_list
from whitelist.names import DistinguishedName
from whitelist.shape import parser
from whitelist.trust import CertificateFacts

DN = "CN=smtp.b.mssante.fr,OU=1750000001,O=CHU DE TEST,ST=Paris (75),C=FR"
GOOD_LIST = signed_list([listed("b.mssante.fr", DN)])


def names(data: bytes) -> None:
    """A name from the list: parsed or refused; what is parsed survives being written."""
    with suppress(InvalidName):
        name = DistinguishedName.parse(data.decode("utf-8", "replace"))
        assert DistinguishedName.parse(str(name)) == name


def lists(data: bytes) -> None:
    """A whole file: only the list that was signed may be accepted."""
    with suppress(ListRefused):
        accepted = read_list(data, trust(), SIGNER, NOW)
        assert accepted.names_of("b.mssante.fr") == {DistinguishedName.parse(DN)}
        assert accepted.domains == 1


def documents(data: bytes) -> None:
    """The content below a signature that held."""
    try:
        root = etree.fromstring(data, parser())
    except (etree.XMLSyntaxError, ValueError):
        return
    with suppress(ListRefused):
        read_document(root)


def certificates(data: bytes) -> None:
    """A certificate as TLS hands it over."""
    with suppress(ValueError):
        CertificateFacts.from_der(data)


def commands(data: bytes) -> None:
    """Arguments of MAIL and RCPT."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (parse_address, parse_mail_parameters):
        with suppress(SyntaxRefused):
            parse(text)
    with suppress(SyntaxRefused):
        parse_path(f"FROM:{text}", "FROM:")


def messages(data: bytes) -> None:
    """Octets after 354, whole and cut: the same end and the same payload."""
    whole = DataDecoder()
    first = whole.feed(data)
    cut, payload, rest, ended = DataDecoder(), b"", b"", False
    for start in range(0, len(data), 7):
        if ended:
            rest += data[start : start + 7]
            continue
        step = cut.feed(data[start : start + 7])
        payload, rest, ended = payload + step.payload, step.rest, step.ended
    assert ended == first.ended
    if ended:
        assert (payload, rest, cut.violation) == (first.payload, first.rest, whole.violation)
    read_header(first.payload)


TARGETS: Mapping[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = MappingProxyType(
    {
        "names": (names, (DN.encode(), b'O="C.H. DE  CADILLAC",C=FR', b"CN=a\\,b+OU=#04,C=FR")),
        "lists": (lists, (GOOD_LIST,)),
        "documents": (
            documents,
            (GOOD_LIST[: GOOD_LIST.index(b"<Signature")] + b"</ListeBlancheMSSante>",),
        ),
        "certificates": (certificates, (trust().anchors[0].public_bytes(Encoding.DER),)),
        "commands": (commands, (b"<dr@b.mssante.fr> SIZE=1", b'<"a b"@b.fr> BODY=8BITMIME')),
        "messages": (messages, (b"From: a@b.fr\r\n\r\n..x\r\n.\r\nMAIL", b"\r\n\n.\n")),
    }
)
"""By name: the target and the seeds of its corpus."""
