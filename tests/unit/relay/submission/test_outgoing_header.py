"""The header that recipients get from a mailbox of ours, and its allowed authors."""

import io
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.address import parse_address
from relay.smtp.errors import SmtpError
from relay.submission.outgoing_header import PreparedMessage, prepare

CLAIRE = parse_address("claire.martin@a.mssante.fr")
AT = datetime(2026, 11, 29, 21, 5, 6, tzinfo=UTC)
FROM = b"From: Dr Martin <claire.martin@a.mssante.fr>\n"
ADDED = b"Date: Sun, 29 Nov 2026 21:05:06 +0000\nMessage-ID: <7@smtp.a.mssante.fr>\n"


def prepared(section: bytes) -> bytes:
    return prepare(section, CLAIRE, AT, "7@smtp.a.mssante.fr")


def test_date_and_message_id_are_added_where_they_lack() -> None:
    assert prepared(FROM) == FROM + ADDED
    own = FROM + b"DATE: yesterday\nmessage-id:\n <x@y>\n"
    assert prepared(own) == own
    assert prepared(FROM.replace(b"\n", b"\r\n")).count(b"\r\n") == 3


def test_bcc_is_taken_out_with_its_folded_lines_and_nothing_else() -> None:
    hidden = b"Bcc: a@b.fr,\n c@d.fr\nBCC : e@f.fr\nResent-Bcc: g@h.fr\n"
    rest = b"Subject: [FIN]  Bcc: x\nCc: i@j.fr\nX-Bcc: k\n\tBcc: l\n"
    assert prepared(FROM + hidden + rest) == FROM + rest + ADDED
    assert prepared(FROM + rest + b"Bcc: m@n.fr") == FROM + rest + ADDED


@pytest.mark.parametrize(
    "author",
    [
        "claire.martin@a.mssante.fr",
        "Claire.Martin@A.mssante.FR",
        '"Martin, Claire" <claire.martin@a.mssante.fr>',
        "=?utf-8?B?Q2xhaXJl?=\n <claire.martin@a.mssante.fr> (Dr)",
        "Émilie <claire.martin@a.mssante.fr>",
    ],
)
def test_the_sender_is_the_author(author: str) -> None:
    section = f"From: {author}\n".encode()
    assert prepared(section) == section + ADDED


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (b"", "550 5.6.0 Message is empty"),
        (b" \r\n\t", "550 5.6.0 Message is empty"),
        (b"Subject: x\n", "550 5.6.0 Message has no From field; give one: From: claire.martin@a"),
        (FROM + FROM, "550 5.6.0 Message has several From fields"),
        (b"From: x@a.mssante.fr\n", "550 5.7.1 From names x@a.mssante.fr, not the sender claire"),
        (FROM[:-1] + b", x@a.mssante.fr\n", "550 5.7.1 From names claire.martin@a.mssante.fr, x@"),
        (b"From: claire.martin@a.mssante.fr <x@b.fr>\n", "550 5.7.1 From names"),
        (b"From: Claire\n", "550 5.7.1 From names"),
        (b"From: \n", "550 5.7.1 From names no address"),
    ],
)
def test_what_is_refused(section: bytes, says: str) -> None:
    with pytest.raises(SmtpError) as refused:
        prepared(section)
    assert str(refused.value).startswith(says)


@given(st.text(max_size=60))
def test_any_author_is_taken_or_refused(author: str) -> None:
    with suppress(SmtpError):
        prepared(b"From: " + author.encode() + b"\n")


@pytest.mark.parametrize("empty_line", [b"\n", b"\r\n"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_rest_streams_as_it_is(empty_line: bytes, step: int) -> None:
    text = b"Bcc: x@y.fr\nDate: d\n\n\r\n" * 40_000
    message = PreparedMessage(
        io.BytesIO(FROM + empty_line + text), CLAIRE, AT, "7@smtp.a.mssante.fr"
    )
    begin = message.read(step)
    rest = bytearray(begin)
    while octets := message.read(max(step, 65_536)):
        rest += octets
    assert bytes(rest) == FROM + ADDED + empty_line + text


def test_a_message_without_a_body_is_all_header() -> None:
    message = PreparedMessage(io.BytesIO(FROM), CLAIRE, AT, "7@smtp.a.mssante.fr")
    assert message.read() == FROM + ADDED


def test_a_header_beyond_all_bounds_is_left_to_admission() -> None:
    text = FROM + b"X: y\n" * 100_000
    assert PreparedMessage(io.BytesIO(text), CLAIRE, AT, "x").read() == text[: 256 * 1024 + 1]
