"""Fuzz targets: each takes any octets and must not raise.

Invariant: hostile input ends in a value or in the module's documented error, never in another
exception, a hang or an acceptance.
"""

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from mailstore.summaries.form import from_octets, to_octets
from mailstore.summaries.reader import read_summary
from relay.dsn.builder import DELIVERED_STATUS, Action, ReportedRecipient, ReportFacts, build_report
from relay.smtp.address import parse_address, parse_path
from relay.smtp.errors import SyntaxRefused
from relay.smtp.framing import ChunkChecker, DataDecoder
from relay.smtp.headers import read_header
from relay.smtp.line_checker import LineChecker
from relay.smtp.parameters import (
    decode_orcpt,
    decode_xtext,
    parse_bdat,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from tests.support.delivery.reports import octets_of, read_report
from tests.support.lists.hierarchy import NOW, SIGNER, listed, signed_list, trust
from tests.support.storage.cutting import cut
from whitelist.errors import InvalidName, ListRefused
from whitelist.national.document import read_document
from whitelist.national.reader import read_list
from whitelist.national.signed_file import parser
from whitelist.pki.certificates import read_der
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import CertificateFacts

DN = "CN=smtp.b.mssante.fr,OU=1750000001,O=CHU DE TEST,ST=Paris (75),C=FR"
GOOD_LIST = signed_list([listed("b.mssante.fr", DN)])


STORED = tuple(
    "\r\n".join(lines).encode()
    for lines in (
        (
            "To: g: =?utf-8?q?=C3=A9?= <a@b.fr>, c@d;",
            "Subject: [KO][902] XDM/1.0/DDM+x",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b",
            "Content-Type: text/html; charset=utf-7\r\n\r\n<p>x</p>\r\n--b--\r\n",
        ),
        (
            "Content-Type: message/rfc822\r\n",
            "Content-Disposition: a; filename*0*=utf-8''%C3; filename*1*=%A9\r\n\r\n",
        ),
        (
            "Content-Type: message/disposition-notification\r\n",
            "Disposition: a/b; processed/Error: 902^x\r\n",
        ),
    )
)


def names(data: bytes) -> None:
    """A name from the list: parsed or refused; a parsed name can be formatted and parsed again."""
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
    """The content below a valid signature."""
    try:
        root = etree.fromstring(data, parser())
    except (etree.XMLSyntaxError, ValueError):
        return
    with suppress(ListRefused):
        read_document(root)


def certificates(data: bytes) -> None:
    """A certificate as TLS passes it."""
    with suppress(ValueError):
        CertificateFacts.from_certificate(read_der(data))


def commands(data: bytes) -> None:
    """Arguments of MAIL, RCPT and BDAT; texts kept verbatim can be decoded for reports."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(SyntaxRefused):
        parse_address(text)
    with suppress(SyntaxRefused):
        parse_bdat(text)
    with suppress(SyntaxRefused):
        parse_path(f"FROM:{text}", "FROM:")
    with suppress(SyntaxRefused):
        address, text = parse_path(f"TO:{text}", "TO:")
        assert address is None or address.domain or str(address) == "postmaster"
    envid, orcpt = reported(text)
    for verbatim, said in (
        (envid, envid and decode_xtext(envid)),
        (orcpt, orcpt and decode_orcpt(orcpt)),
    ):
        assert verbatim is None or verbatim in text
        assert said is None or all(" " <= char <= "~" for char in said)


def reported(text: str) -> tuple[str | None, str | None]:
    """ENVID and ORCPT, if these are valid parameters of their commands."""
    envid = orcpt = None
    with suppress(SyntaxRefused):
        envid = parse_mail_parameters(text).envid
    with suppress(SyntaxRefused):
        orcpt = parse_rcpt_parameters(text).orcpt
    return envid, orcpt


def chunks(data: bytes) -> None:
    """Content of BDAT, whole and cut: same octets, and the faults of any message."""
    lines = LineChecker()
    lines.check(data)
    for pieces in ([data], cut(data, [7] * (len(data) // 7))):
        checker = ChunkChecker()
        assert b"".join(map(checker.feed, pieces)) + checker.finish() == data
        assert checker.violation is lines.violation


def reports(data: bytes) -> None:
    """A sender, parameters of MAIL and of RCPT, and a header section: only our fields and parts."""
    sender, mail, rcpt, headers = (data.split(b"\n", 3) + [b""] * 3)[:4]
    try:
        to = str(parse_address(sender.decode("utf-8", "surrogateescape")))
    except SyntaxRefused:
        to = "dr@b.mssante.fr"
    envid, _ = reported(mail.decode("utf-8", "surrogateescape"))
    _, orcpt = reported(rcpt.decode("utf-8", "surrogateescape"))
    diagnostic = rcpt.decode("utf-8", "replace")
    recipient = ReportedRecipient(to, Action.RELAYED, DELIVERED_STATUS, orcpt, diagnostic)
    facts = ReportFacts(
        hostname="smtp.a.mssante.fr",
        message_id="id",
        domain="a.mssante.fr",
        to=to,
        at=NOW,
        arrival=NOW,
        envid=envid,
        recipients=(recipient,),
        headers=headers,
        smtputf8=not to.isascii(),
    )
    report = read_report(octets_of(build_report(facts)))
    assert len(report.recipients) == 1
    assert report.original == headers or len(headers) > 64 * 1024


def messages(data: bytes) -> None:
    """Octets after 354, whole and cut: same end and same payload."""
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


def summaries(data: bytes) -> None:
    """A stored message: a summary that comes back, its parts in order within the octets."""
    summary = read_summary(io.BytesIO(data), b"Received: x\r\n")
    assert summary.octets == len(data) + 13
    assert from_octets(to_octets(summary)) == summary
    pending = [] if summary.structure is None else [summary.structure]
    assert pending or summary.unreadable
    while pending:
        part = pending.pop()
        assert part.header <= part.body <= part.end <= summary.octets
        pending += part.children


TARGETS: Mapping[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = MappingProxyType(
    {
        "names": (names, (DN.encode(), b'O="C.H. DE  CADILLAC",C=FR', b"CN=a\\,b+OU=#04,C=FR")),
        "lists": (lists, (GOOD_LIST,)),
        "documents": (
            documents,
            (GOOD_LIST[: GOOD_LIST.index(b"<Signature")] + b"</ListeBlancheMSSante>",),
        ),
        "certificates": (certificates, (trust().anchors[0].public_bytes(Encoding.DER),)),
        "commands": (
            commands,
            (
                b"<dr@b.mssante.fr> SIZE=1",
                b'<"a b"@b.fr> BODY=8BITMIME',
                b"<Postmaster> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.fr",
                rb"<a@b.fr> NOTIFY=NEVER ORCPT=utf-8;h\x{E9}@b.fr",
                b"RET=HDRS ENVID=QQ+20x SIZE=12",
                b"86 LAST",
            ),
        ),
        "chunks": (chunks, (b"From: a@b.fr\r\n\r\n.\r\n..x\r\n", b"a\r\r\nb\0" + b"x" * 999)),
        "reports": (
            reports,
            (
                b"dr@b.fr\nENVID=QQ+20x\nORCPT=rfc822;a+2Bb@c.fr\nFrom: dr@b.fr\r\nX: y\r\n",
                "hé@b.fr\nENVID=x\nORCPT=utf-8;é@b.fr\nX: é\r\n--id.0\r\n".encode(),
                # Found: a line of 77 octets in quoted-printable.
                b"\n\n\nENVID \xa9fr\nENVID \xa9" + bytes(12) + b"\nfr\nENVID\nE\nEIENVID",
            ),
        ),
        "summaries": (summaries, STORED),
        "messages": (messages, (b"From: a@b.fr\r\n\r\n..x\r\n.\r\nMAIL", b"\r\n\n.\n")),
    }
)
"""Target and seeds of its corpus, by name."""
