"""Facts that admission reads from a header, however it is cut and forged; our trace field."""

import email
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.smtp.headers import (
    MAX_HEADER,
    UNREADABLE,
    HeaderCollector,
    HeaderFacts,
    TraceFacts,
    read_header,
    received_field,
)
from tests.support.clock import NOW
from tests.support.storage.cutting import cut, made_of, octet_by_octet, sizes


def domains(value: str) -> set[str]:
    return set(read_header(f"From: {value}\r\n".encode("utf-8", "surrogateescape")).from_domains)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("dr@b.fr", {"b.fr"}),
        ("<dr@b.fr>", {"b.fr"}),
        ("Dr X <dr@B.FR>", {"b.fr"}),
        ("Dr_Hélène_MARTIN_CHU <dr@b.fr>", {"b.fr"}),
        ("=?utf-8?q?H=C3=A9l=C3=A8ne?= <dr@b.fr>", {"b.fr"}),
        ("=?utf-8?q?x=40evil=2Efr?= <dr@b.fr>", {"b.fr"}),
        ('"x@evil.fr" <dr@b.fr>', {"b.fr"}),
        (r'"x\"@evil.fr" <dr@b.fr>', {"b.fr"}),
        ('"(" <dr@b.fr>', {"b.fr"}),
        ('("x@evil.fr) <dr@b.fr>', {"b.fr"}),
        ("dr@b.fr (x@evil.fr (y@evil.fr) z@evil.fr)", {"b.fr"}),
        (r"(\)x@evil.fr) dr@b.fr", {"b.fr"}),
        ('"a b"@b.fr', {"b.fr"}),
        ('"a@evil.fr"@b.fr', {"b.fr"}),
        ("a@b.fr, c@d.fr,\r\n e@f.fr", {"b.fr", "d.fr", "f.fr"}),
        ("Equipe: a@b.fr, C <c@d.fr>;", {"b.fr", "d.fr"}),  # a group, RFC 6854
        ("a@b.fr, undisclosed:;", {"b.fr"}),
        ("<@r.fr,@s.fr:a@b.fr>", {"r.fr", "s.fr", "b.fr"}),
        ("dr @ b . fr", {"b.fr"}),
        ("dr@b.fr .evil.fr", {"b.fr.evil.fr"}),
        ("dr@b(comment).fr", {"b.fr"}),
        ("\r\n dr@b.fr", {"b.fr"}),
        ("Dr\r\n\tX\r\n <dr@b\r\n .fr>", {"b.fr"}),
        # readers differ on these (CVE-2023-27043): every possible author counts
        ("a@b.fr)x@evil.fr(", {"b.fr", "evil.fr", UNREADABLE}),
        ("x@evil.fr <a@b.fr>", {"evil.fr", "b.fr"}),
        ("<a@b.fr> <x@evil.fr>", {"evil.fr", "b.fr"}),
        ("<a@b.fr", {"b.fr"}),
        ("a@b.fr>x@evil.fr", {"b.fr", "evil.fr"}),
        ("a@b.fr@evil.fr", {"b.fr", "evil.fr"}),
        ("a@b.fr;x@evil.fr", {"b.fr", "evil.fr"}),
        (r"\"a@b.fr", {"b.fr"}),
        # and an unreadable author belongs to nobody
        ("", {UNREADABLE}),
        ("MAILER-DAEMON", {UNREADABLE}),
        ("undisclosed:;", {UNREADABLE}),
        ("a@", {UNREADABLE}),
        ("a@[192.0.2.1]", {UNREADABLE}),
        ("a@b.fr.", {UNREADABLE}),
        ("a@b..fr", {UNREADABLE}),
        ("a@bé.fr", {UNREADABLE}),
        ("a@\u212a.fr", {UNREADABLE}),
        ("a@b.fr\x1b[2J", {UNREADABLE}),
        ("a@b.fr\udcff", {UNREADABLE}),
        ("a@" + "b." * 150 + "fr", {UNREADABLE}),
        ('"x@b.fr', {UNREADABLE}),
        ('a@b.fr "', {"b.fr", UNREADABLE}),
        ("(x@b.fr", {UNREADABLE}),
    ],
)
def test_the_domains_of_authors(value: str, expected: set[str]) -> None:
    # DOMAIN §3.2 step 8, §9.18
    assert domains(value) == expected


NOBODY = {UNREADABLE}


@pytest.mark.parametrize(
    ("section", "authors", "received", "fields"),
    [
        # RFC 5322 §3.6: From is not optional; a message without it has no author
        (b"", NOBODY, 0, 0),
        (b"Subject: x\r\n", NOBODY, 0, 1),
        (b"Sender: a@b.fr\r\n", {"b.fr", UNREADABLE}, 0, 1),
        (b"X-From: a@b.fr\r\nFromage: a@b.fr\r\n", NOBODY, 0, 2),
        (b"Resent-From: a@b.fr\r\nReply-To: a@b.fr\r\nTo: a@b.fr\r\n", NOBODY, 0, 3),
        (b"Subject: x\r\n From: a@b.fr\r\n\tSender: a@b.fr\r\n", NOBODY, 0, 1),  # folded lines
        (b": a@b.fr\r\n\0\xff\r\n", NOBODY, 0, 2),
        (b"From: a@b.fr\r\nFrom: c@d.fr\r\n", {"b.fr", "d.fr"}, 0, 2),
        (b"From: a@b.fr\r\nFrom:\r\n", {"b.fr", UNREADABLE}, 0, 2),
        (b"From: a@b.fr\r\nSender: c@d.fr\r\n", {"b.fr", "d.fr"}, 0, 2),
        (b"FROM: a@b.fr\r\nSENDER: c@d.fr\r\nsender: e@f.fr", {"b.fr", "d.fr", "f.fr"}, 0, 3),
        (b"fROM : a@b.fr\r\n", {"b.fr"}, 0, 1),  # obsolete, RFC 5322 §4.5
        (b"From\t:a@b.fr\r\n", {"b.fr"}, 0, 1),
        (b"garbage\r\nFrom: a@b.fr\r\n", {"b.fr"}, 0, 2),
        (b"Received: x\r\nreceived: y\r\n z\r\nRECEIVED : w\r\n", NOBODY, 3, 3),
        (b"X-Received: x\r\nSubject: Received: y\r\n Received: z\r\n", NOBODY, 0, 2),
        (b"Received: from (From: a@b.fr)\r\n From: c@d.fr\r\n", NOBODY, 1, 1),
    ],
)
def test_facts_of_a_section(section: bytes, authors: set[str], received: int, fields: int) -> None:
    assert read_header(section) == HeaderFacts(frozenset(authors), received, fields, len(section))


@pytest.mark.parametrize(
    "value", ["(" * 200_000, '"(' * 100_000, "<" * 200_000, "a@b," * 50_000, "\\" * 200_000,
              " " * 200_000 + "@", "@" * 200_000, ". " * 100_000, "[" * 200_000],
    ids=lambda value: value[:4],
)  # fmt: skip
def test_hostile_repetition_ends_without_recursion(value: str) -> None:
    # email.utils.getaddresses raises RecursionError on the first of these.
    assert domains(value) <= {UNREADABLE, "b"}


def gathered(pieces: Iterable[bytes], limit: int = MAX_HEADER) -> HeaderCollector:
    collector = HeaderCollector(limit)
    for piece in pieces:
        collector.feed(piece)
    return collector


def collected(pieces: Iterable[bytes]) -> HeaderFacts:
    return gathered(pieces).facts()


MESSAGE = made_of(
    *(b"From: ", b"Sender:", b"Received: x", b"a@b.fr", b"c@d.fr", b"\r\n", b"\r\n\r\n"),
    *(b"\r\n ", b"\r\n\t", b"\r", b"\n", b":", b'"', b"(", b")", b"<", b">", b",", b"\\", b"\xe9"),
)


@pytest.mark.fuzz
@given(MESSAGE, sizes())
@example(b"\r\nFrom: a@b.fr\r\n\r\n", [1, 1])
@example(b"Subject: x\r\n\r\nFrom: a@b.fr", [11, 1, 1, 1])
def test_facts_do_not_depend_on_the_cutting(message: bytes, lengths: list[int]) -> None:
    body = message.find(b"\r\n\r\n")
    header = b"" if message.startswith(b"\r\n") else message[: body + 2] if body >= 0 else message
    expected = read_header(header)
    for pieces in ([message], cut(message, lengths), octet_by_octet(message)):
        collector = gathered(pieces)
        assert collector.facts() == expected
        assert collector.section == header


@pytest.mark.fuzz
@given(MESSAGE, sizes(), st.integers(1, 60))
@example(b"From: a@b.fr\r\n\r\n", [], 16)
@example(b"From: a@b.fr\r\n\r\n", [15], 15)
def test_a_limit_cuts_at_the_same_octet_however_the_message_is_cut(
    message: bytes, lengths: list[int], limit: int
) -> None:
    whole = gathered([message], limit)
    assert message.startswith(whole.section)
    assert len(whole.section) <= limit
    # The end of the section, or of the message, is within the limit.
    ended = message[:limit]
    end = ended.startswith(b"\r\n") or b"\r\n\r\n" in ended or len(message) < limit
    assert whole.facts().complete == end
    assert end or UNREADABLE in whole.facts().from_domains
    for pieces in (cut(message, lengths), octet_by_octet(message)):
        collector = gathered(pieces, limit)
        assert (collector.facts(), collector.section) == (whole.facts(), whole.section)


@pytest.mark.fuzz
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(b"From:".__add__)))
def test_any_octets_have_facts(section: bytes) -> None:
    facts = read_header(section)
    for domain in facts.from_domains - {UNREADABLE}:
        assert re.fullmatch(r"[a-z0-9.-]{1,255}", domain)


@pytest.mark.parametrize("empty", [b"\r\n", b"Subject: x\r\n\r\n"])
def test_what_a_body_says_is_not_read(empty: bytes) -> None:
    facts = collected([empty + b"Received: x\r\nFrom: a@b.fr\r\n\r\nReceived: y\r\n"])
    subject = empty.removesuffix(b"\r\n")
    assert facts == HeaderFacts(frozenset({UNREADABLE}), 0, subject.count(b":"), len(subject))


def test_a_header_without_end_is_read_whole() -> None:
    assert collected([b"From: a@b.fr\r\nReceived: x"]) == HeaderFacts(
        frozenset({"b.fr"}), 1, fields=2, octets=25
    )


def test_an_endless_header_is_read_in_bounds_and_its_author_is_not_told() -> None:
    # Otherwise the reader would see a From beyond the limit, and admission would not.
    field = b"X: " + b"x" * 995 + b"\r\n"
    junk = field * (MAX_HEADER // len(field) + 1)
    collector = HeaderCollector()
    collector.feed(b"From: a@b.fr\r\nReceived: x\r\n")
    for piece in cut(junk, [1000] * 300):
        collector.feed(piece)
    collector.feed(b"From: x@evil.fr\r\nReceived: y\r\n\r\n")
    facts = collector.facts()
    assert facts == HeaderFacts(
        frozenset({"b.fr", UNREADABLE}),
        received=1,
        fields=2 + -(-(MAX_HEADER - 27) // len(field)),
        octets=MAX_HEADER,
        complete=False,
    )
    assert len(collector.section) == MAX_HEADER


@pytest.mark.parametrize("pieces", [[MAX_HEADER], [], [MAX_HEADER - 3], [1, 2, 3]])
def test_a_header_of_exactly_the_bound_is_read(pieces: list[int]) -> None:
    start = b"From: a@b.fr\r\nX: "
    header = start + b"x" * (MAX_HEADER - len(start) - 4) + b"\r\n\r\n"
    assert len(header) == MAX_HEADER
    facts = collected(list(cut(header + b"Received: x\r\n", pieces)))
    assert facts == HeaderFacts(frozenset({"b.fr"}), 0, fields=2, octets=MAX_HEADER - 2)


ATOM = st.text(st.sampled_from("abcXYZ019!#$%&'*+-/=?^_`{|}~é"), min_size=1, max_size=8)
LABEL = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
QUOTED = st.text(st.sampled_from('ab@.(),:;<> "\\'), max_size=12).map(
    lambda text: '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
)
COMMENT = st.text(st.sampled_from('ab@.",:;<> ()\\'), max_size=12).map(
    lambda text: "(" + re.sub(r"([()\\])", r"\\\1", text) + ")"
)
BLANK = st.one_of(st.sampled_from([" ", "\r\n ", "\r\n\t", "  "]), COMMENT.map(" {} ".format))


@st.composite
def mailboxes(draw: st.DrawFn) -> tuple[str, str]:
    """A mailbox in any form of RFC 5322 §3.4, and its domain."""
    domain = draw(DOMAIN)
    address = f"{draw(st.one_of(ATOM, QUOTED))}@{domain}"
    if draw(st.booleans()):
        return f"{draw(BLANK)}{address}{draw(BLANK)}", domain
    phrase = draw(BLANK).join(draw(st.lists(st.one_of(ATOM, QUOTED), max_size=3)))
    return f"{phrase}{draw(BLANK)}<{address}>{draw(BLANK)}", domain


@pytest.mark.fuzz
@given(st.lists(mailboxes(), min_size=1, max_size=4), st.booleans(), sizes())
def test_well_formed_authors_are_found_and_nobody_else(
    authors: list[tuple[str, str]], group: bool, lengths: list[int]
) -> None:
    value = ",".join(text for text, _ in authors)
    value = f"Equipe:{value};" if group else value
    message = f"Subject: x\r\nFrom: {value}\r\nTo: x@evil.fr\r\n\r\n".encode()
    expected = frozenset(domain.lower() for _, domain in authors)
    assert collected(list(cut(message, lengths))).from_domains == expected


FACTS = TraceFacts(
    helo="smtp.b.mssante.fr",
    address="192.0.2.1",
    hostname="smtp.a.mssante.fr",
    protocol="ESMTPS",
    message="019350000000700080000000000000aa",
    session="019350000000700080000000000000bb",
    at=datetime(2026, 11, 22, 10, 11, 12, tzinfo=UTC),
    tls_version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    peer="CN=smtp.b.mssante.fr,OU=1750000002,O=CHU,ST=Hérault (34),C=FR",
)


def test_the_trace_field() -> None:
    # DOMAIN §3.2 step 11: TLS version, cipher and peer DN
    assert received_field(FACTS) == (
        b"Received: from smtp.b.mssante.fr ([192.0.2.1])\r\n"
        b" by smtp.a.mssante.fr with ESMTPS id 019350000000700080000000000000aa\r\n"
        b" tls TLS_AES_256_GCM_SHA384\r\n"
        b" (TLSv1.3; peer CN=smtp.b.mssante.fr,OU=1750000002,O=CHU,"
        rb"ST=H\\C3\\A9rault \(34\),C=FR;"
        b" session 019350000000700080000000000000bb);\r\n"
        b" Sun, 22 Nov 2026 10:11:12 +0000\r\n"
    )


def test_the_trace_field_of_a_local_submission() -> None:
    local = replace(FACTS, protocol="local", tls_version="", cipher="", peer="")
    assert received_field(local) == (
        b"Received: from smtp.b.mssante.fr ([192.0.2.1])\r\n"
        b" by smtp.a.mssante.fr with local id 019350000000700080000000000000aa\r\n"
        b" (session 019350000000700080000000000000bb);\r\n"
        b" Sun, 22 Nov 2026 10:11:12 +0000\r\n"
    )


def test_an_ipv6_address_is_tagged() -> None:
    # RFC 5321 §4.1.3
    field = received_field(replace(FACTS, address="2001:db8::1"))
    assert b"([IPv6:2001:db8::1])" in field


@pytest.mark.parametrize(
    ("helo", "written"),
    [
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("x\r\nFrom: evil", "xFrom:evil"),
        ("x (by evil); Sun", "xbyevilSun"),
        ("é ", "unknown"),
        ("\udcff\0", "unknown"),
        ("a" * 4000, "a" * 255),
    ],
)
def test_a_hostile_helo_stays_a_word(helo: str, written: str) -> None:
    field = received_field(replace(FACTS, helo=helo))
    assert field.startswith(f"Received: from {written} ([192.0.2.1])\r\n".encode())


def test_a_long_name_of_a_peer_is_cut_at_a_whole_character() -> None:
    lines = received_field(replace(FACTS, peer="é" * 5000)).split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert b"A9...; session" in lines[3]
    assert lines[3].count(rb"\\C3") == lines[3].count(rb"\\A9")


@pytest.mark.fuzz
@given(
    st.text(st.characters(), max_size=300),
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=2000),
        st.text(st.sampled_from('ab ()\\";,=é\r\n\0\x85\u2028'), max_size=300),
    ),
    st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - it adds the zone
)
@example("x\r\n\r\nbody", "x)\r\nFrom: evil\r\n\r\nbody", NOW)
@example("x", "\\", NOW)
def test_nobody_injects_anything_into_the_trace_field(helo: str, peer: str, at: datetime) -> None:
    field = received_field(replace(FACTS, helo=helo, peer=peer, at=at))
    # exactly one field, for us and for others
    lines = field.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 998 and re.fullmatch(rb"[ -~]+", line) for line in lines)
    assert lines[0].startswith(b"Received: from ")
    assert all(line.startswith(b" ") and line.strip() for line in lines[1:])
    parsed = email.message_from_bytes(field + b"\r\nbody")
    assert parsed.keys() == ["Received"]
    assert parsed.defects == []
    assert parsed.get_payload() == "body"
    assert read_header(field) == HeaderFacts(frozenset({UNREADABLE}), 1, 1, len(field))
    # outside of the comments only the word after "from" is the peer's
    said, seen = uncommented(field.decode().replace("\r\n", ""))
    word, _, date = said.partition(";")
    assert re.fullmatch(
        r"Received: from [A-Za-z0-9.:\[\]_-]{1,255}  by smtp\.a\.mssante\.fr with ESMTPS"
        rf" id {FACTS.message} tls TLS_AES_256_GCM_SHA384 ",
        word,
    )
    assert parsedate_to_datetime(date) == at.replace(microsecond=0)
    # and a name in ASCII is unchanged in its comment
    if peer.isascii() and peer.isprintable() and len(peer) <= 300:
        assert seen[1] == f"TLSv1.3; peer {peer}; session {FACTS.session}"


def uncommented(text: str) -> tuple[str, list[str]]:
    """A field without its comments, and the comments, by RFC 5322 §3.2.2."""
    outside, comments, depth = "", [], 0
    for part in re.findall(r"\\.|.", text):
        if part == "(":
            assert depth == 0, "comments do not nest here"
            depth = 1
            comments.append("")
        elif part == ")":
            assert depth == 1
            depth = 0
        elif depth:
            comments[-1] += part[-1]
        else:
            outside += part
    assert depth == 0
    return outside, comments


@pytest.mark.parametrize(
    "helo",
    ["279035121518989", "279035121518989.b.mssante.fr", "279035121518989@patient.mssante.fr"],
)
def test_a_patient_in_the_name_of_a_peer_is_not_stored_in_clear(helo: str) -> None:
    assert b"27903512151" not in received_field(replace(FACTS, helo=helo))
