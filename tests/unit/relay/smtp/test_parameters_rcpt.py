"""Parameters of RCPT (RFC 3461, RFC 6533 §3), xtext, and the argument of BDAT (RFC 3030)."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import (
    BdatChunk,
    DsnNotify,
    RcptParameters,
    ascii_form,
    decode_orcpt,
    decode_xtext,
    parse_bdat,
    parse_mail_parameters,
    parse_rcpt_parameters,
)

REFUSED_NOTIFY = "501 5.5.4 NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY"
REFUSED_ORCPT = "501 5.5.4 ORCPT takes a type of address, a semicolon, and xtext"


@pytest.mark.parametrize(
    ("text", "notify"),
    [
        ("", None),
        ("  ", None),
        ("NOTIFY=NEVER", {DsnNotify.NEVER}),
        ("notify=never", {DsnNotify.NEVER}),
        ("NOTIFY=SUCCESS", {DsnNotify.SUCCESS}),
        ("NOTIFY=FAILURE", {DsnNotify.FAILURE}),
        ("NOTIFY=DELAY", {DsnNotify.DELAY}),
        ("NOTIFY=Success,Delay", {DsnNotify.SUCCESS, DsnNotify.DELAY}),
        ("NOTIFY=DELAY,FAILURE,SUCCESS", {DsnNotify.SUCCESS, DsnNotify.DELAY, DsnNotify.FAILURE}),
    ],
)
def test_what_a_sender_may_want_to_hear_of(text: str, notify: set[DsnNotify] | None) -> None:
    # RFC 3461 §4.1
    expected = None if notify is None else frozenset(notify)
    assert parse_rcpt_parameters(text) == RcptParameters(notify=expected)


@pytest.mark.parametrize(
    ("orcpt", "reported"),
    [
        ("rfc822;claire.martin@a.mssante.fr", "rfc822;claire.martin@a.mssante.fr"),
        ("rfc822;Claire+2Btest@A.fr", "rfc822;Claire+test@A.fr"),
        ("rfc822;+22a+20b+22@c.fr", 'rfc822;"a b"@c.fr'),
        ("RFC822;a+3Db@c.fr", "RFC822;a=b@c.fr"),
        ("rfc822;a;b@c.fr", "rfc822;a;b@c.fr"),
        ("rfc822;", "rfc822;"),  # RFC 3461 §4: xtext may be empty
        (r"rfc822;a\\b@c.fr", r"rfc822;a\\b@c.fr"),
        ("x400;/C=FR/ADMD=+20/S=x/".replace("=", "+3D"), "x400;/C=FR/ADMD= /S=x/"),
        ("x-!#$%&'*-/?^_`{|}~;x", "x-!#$%&'*-/?^_`{|}~;x"),  # atom, RFC 822 §3.3
        ("rfc822;" + "x" * 493, "rfc822;" + "x" * 493),
        # RFC 6533 §3: utf-8-addr-xtext, then utf-8-addr-unitext
        ("utf-8;a@b.fr", "utf-8;a@b.fr"),
        (r"utf-8;h\x{E9}l\x{E8}ne@b.fr", r"utf-8;h\x{E9}l\x{E8}ne@b.fr"),
        (r"UTF-8;\x{20}\x{2B}\x{3D}\x{5C}@b.fr", r"UTF-8;\x{20}\x{2B}\x{3D}\x{5C}@b.fr"),
        (r"utf-8;\x{3B1}\x{533B}\x{D7FF}\x{E000}", r"utf-8;\x{3B1}\x{533B}\x{D7FF}\x{E000}"),
        (r"utf-8;\x{1F600}\x{FFFFF}\x{10FFFF}@b.fr", r"utf-8;\x{1F600}\x{FFFFF}\x{10FFFF}@b.fr"),
        ("utf-8;hélène@b.fr", r"utf-8;h\x{E9}l\x{E8}ne@b.fr"),
        ("utf-8;医者@例え.fr", r"utf-8;\x{533B}\x{8005}@\x{4F8B}\x{3048}.fr"),
        (r"utf-8;\x{E9}é\x{2B}", r"utf-8;\x{E9}\x{E9}\x{2B}"),
    ],
)
def test_an_original_recipient_is_kept_verbatim(orcpt: str, reported: str) -> None:
    # RFC 3461 §4.2, and RFC 3464 §2.3.1 for reports
    assert parse_rcpt_parameters(f"ORCPT={orcpt}") == RcptParameters(orcpt=orcpt)
    both = parse_rcpt_parameters(f"notify=success  Orcpt={orcpt}")
    assert both == RcptParameters(frozenset({DsnNotify.SUCCESS}), orcpt)
    assert decode_orcpt(orcpt) == reported


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("NOTIFY", REFUSED_NOTIFY),
        ("NOTIFY=ALWAYS", REFUSED_NOTIFY),
        ("NOTIFY=NEVER,SUCCESS", REFUSED_NOTIFY),
        ("NOTIFY=DELAY,NEVER", REFUSED_NOTIFY),
        ("NOTIFY=NEVER,NEVER", REFUSED_NOTIFY),
        ("NOTIFY=SUCCESS,success", REFUSED_NOTIFY),
        ("NOTIFY=SUCCESS,", REFUSED_NOTIFY),
        ("NOTIFY=,", REFUSED_NOTIFY),
        ("NOTIFY=,SUCCESS", REFUSED_NOTIFY),
        ("NOTIFY=SUCCESS;DELAY", REFUSED_NOTIFY),
        ("NOTIFY=\u017fUCCESS", "501 5.5.4 Malformed RCPT parameter"),  # LONG S, upper case S
        ("NOTIFY=SUCCESS NOTIFY=DELAY", "501 5.5.4 RCPT parameter NOTIFY given twice"),
        ("NOTIFY=SUCCESS, DELAY", "555 5.5.4 RCPT parameter DELAY not offered here"),
        ("NOTIFY=SUCCESS ,DELAY", "501 5.5.4 Malformed RCPT parameter"),
        ("NOTIFY=", "501 5.5.4 Malformed RCPT parameter"),
        ("ORCPT", REFUSED_ORCPT),
        ("ORCPT=a@b.fr", REFUSED_ORCPT),
        ("ORCPT=;a@b.fr", REFUSED_ORCPT),
        ("ORCPT=rfc.822;a@b.fr", REFUSED_ORCPT),
        ("ORCPT=<rfc822>;a@b.fr", REFUSED_ORCPT),
        ("ORCPT=rfc\u00e9;a@b.fr", REFUSED_ORCPT),
        ("ORCPT=rfc822;a+b@c.fr", REFUSED_ORCPT),
        ("ORCPT=rfc822;a+2bb@c.fr", REFUSED_ORCPT),
        ("ORCPT=rfc822;a+", REFUSED_ORCPT),
        ("ORCPT=rfc822;a+0D+0AX:+20y", REFUSED_ORCPT),
        ("ORCPT=rfc822;a+09", REFUSED_ORCPT),
        ("ORCPT=rfc822;a+7F", REFUSED_ORCPT),
        ("ORCPT=rfc822;+C3+A9@b.fr", REFUSED_ORCPT),
        ("ORCPT=rfc822;é@b.fr", REFUSED_ORCPT),
        ("ORCPT=utf-8;", REFUSED_ORCPT),
        ("ORCPT=utf-8;a+2Bb@c.fr", REFUSED_ORCPT),
        (r"ORCPT=utf-8;a\b@c.fr", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{e9}@c.fr", REFUSED_ORCPT),  # lower case
        (r"ORCPT=utf-8;\x{E9@c.fr", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{}@c.fr", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{41}@c.fr", REFUSED_ORCPT),  # an A needs no escape
        (r"ORCPT=utf-8;\x{00E9}@c.fr", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{0D}\x{0A}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{01}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{7F}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{85}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{2028}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{2029}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{D800}", REFUSED_ORCPT),
        (r"ORCPT=utf-8;\x{110000}", REFUSED_ORCPT),
        ("ORCPT=rfc822;" + "x" * 494, "501 5.5.4 ORCPT takes at most 500 characters"),
        # 254 octets on the wire, but 506 in the 7-bit form of RFC 6533 §3
        ("ORCPT=utf-8;" + "é" * 84, "501 5.5.4 ORCPT takes at most 500 characters"),
        ("ORCPT=rfc822;a ORCPT=rfc822;b", "501 5.5.4 RCPT parameter ORCPT given twice"),
        ("ORCPT=rfc822;a=b@c.fr", "501 5.5.4 Malformed RCPT parameter"),
        ("SIZE=1", "555 5.5.4 RCPT parameter SIZE not offered here"),
        ("RET=HDRS", "555 5.5.4 RCPT parameter RET not offered here"),
        ("X=\u00e9", "501 5.5.4 Malformed RCPT parameter"),
        ("<c@d.fr>", "501 5.5.4 Malformed RCPT parameter"),
        ("ORCPT=utf-8;\udcff", "501 5.5.4 Malformed RCPT parameter"),
        ("ORCPT=utf-8;\u0085", "501 5.5.4 Malformed RCPT parameter"),
        ("ORCPT=rfc822;a\r\nX: y", "501 5.5.4 Malformed RCPT parameter"),
    ],
)
def test_what_rcpt_may_not_declare(text: str, reply: str) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_rcpt_parameters(text)
    assert str(caught.value.reply) == reply


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", BdatChunk(0, last=False)),
        ("0 LAST", BdatChunk(0, last=True)),
        ("1000000", BdatChunk(1_000_000, last=False)),
        ("86 last", BdatChunk(86, last=True)),
        ("86 LaSt", BdatChunk(86, last=True)),
        ("007", BdatChunk(7, last=False)),
        ("9" * 20, BdatChunk(10**20 - 1, last=False)),
        ("1  ", BdatChunk(1, last=False)),  # blanks at the end are tolerated, RFC 5321 §4.1.1
        ("1 LAST ", BdatChunk(1, last=True)),
    ],
)
def test_what_bdat_may_announce(argument: str, chunk: BdatChunk) -> None:
    # RFC 3030 §2
    assert parse_bdat(argument) == chunk


@pytest.mark.parametrize(
    "argument",
    [
        *(None, "", " ", "LAST", "1LAST", "1 LAST LAST", "LAST 1", "1 2", "1 LASTS", "1  LAST"),
        *("-1", "+1", "1.0", "0x10", "1_0", "1e3", "9" * 21, "9" * 4000, " 1", "1\tLAST"),
        *("1\r", "1\n", "1\0", "1 LAST\r\nRSET", "1\u00a0LAST"),
        "\u0661",  # ARABIC-INDIC DIGIT ONE
        "1 LA\u017fT",  # LONG S, which ignoring case takes for an S
    ],
)
def test_what_bdat_may_not_announce(argument: str | None) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_bdat(argument)
    assert str(caught.value.reply) == "501 5.5.4 Syntax: BDAT size [LAST]"


def encode_xtext(text: str) -> str:
    """RFC 3461 §4, by the letter."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@pytest.mark.fuzz
@given(PRINTABLE)
def test_xtext_says_what_was_encoded(text: str) -> None:
    encoded = encode_xtext(text)
    assert decode_xtext(encoded) == text
    assert decode_orcpt(f"x;{encoded}") == f"x;{text}"
    if 0 < len(encoded) <= 100:
        assert parse_mail_parameters(f"ENVID={encoded}").envid == encoded


@pytest.mark.fuzz
@given(st.text(st.sampled_from("+=0129ABFab \t\r\n\0\x7fé"), max_size=12))
def test_any_text_is_printable_xtext_or_refused(text: str) -> None:
    try:
        decoded = decode_xtext(text)
    except SyntaxRefused:
        return
    assert all(" " <= char <= "~" for char in decoded)
    # An octet may be encoded without need, so the text itself comes back only if none was.
    assert decode_xtext(encode_xtext(decoded)) == decoded
    assert len(decoded) == len(text) - 2 * text.count("+")


NET_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"),
    min_size=1,
    max_size=40,
)


@pytest.mark.fuzz
@given(NET_TEXT)
def test_any_utf8_address_travels_as_original_recipient(address: str) -> None:
    # RFC 6533 §3: quoted as unitext here, in 7 bits in reports, and read back by its rules
    unitext = "".join(rf"\x{{{ord(c):02X}}}" if c in "\\+= " else c for c in address)
    reported = decode_orcpt(f"utf-8;{unitext}")
    assert parse_rcpt_parameters(f"ORCPT=utf-8;{unitext}").orcpt == f"utf-8;{unitext}"
    assert reported == ascii_form(f"utf-8;{unitext}")
    assert reported.isascii()
    # the 7-bit form is an original recipient again: that is how it goes on without SMTPUTF8
    assert parse_rcpt_parameters(f"ORCPT={reported}").orcpt == reported
    kind, _, quoted = reported.partition(";")
    assert kind == "utf-8"
    assert re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: chr(int(m[1], 16)), quoted) == address


HOSTILE = st.text(
    st.sampled_from('=;,+\\x{}<>"0129AFaf \t\r\n\0\x7fé\u0085\u2028\ud800'), max_size=30
)
RCPT_WORDS = st.one_of(
    st.sampled_from(["NOTIFY=NEVER", "notify=success,delay", "ORCPT=rfc822;a@b.fr", "X"]),
    st.sampled_from(["orcpt=utf-8;é@b.fr", r"ORCPT=UTF-8;\x{E9}@b.fr"]),
    st.builds(
        "{}{}".format, st.sampled_from(["ORCPT=rfc822;", "ORCPT=utf-8;", "NOTIFY="]), HOSTILE
    ),
    st.text(st.characters(), max_size=80),
)


def assert_short_line(refused: SyntaxRefused) -> None:
    """RFC 5321 §4.5.3.1.5: 512 octets, of which the session's id takes some."""
    line = str(refused.reply)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 200


@pytest.mark.fuzz
@given(st.lists(RCPT_WORDS, max_size=3).map(" ".join))
def test_any_text_of_rcpt_is_understood_whole_or_refused_in_one_short_line(text: str) -> None:
    try:
        found = parse_rcpt_parameters(text)
    except SyntaxRefused as refused:
        assert_short_line(refused)
        return
    given_words = dict(word.partition("=")[::2] for word in text.split(" ") if word)
    words = {word.upper(): value for word, value in given_words.items()}
    assert set(words) <= {"NOTIFY", "ORCPT"}
    assert found.orcpt == words.get("ORCPT")
    assert (found.notify is None) == ("NOTIFY" not in words)
    assert (
        found.notify is None
        or found.notify == {DsnNotify.NEVER}
        or DsnNotify.NEVER not in found.notify
    )
    if found.orcpt is not None:
        reported = decode_orcpt(found.orcpt)
        assert all(" " <= char <= "~" for char in reported)
        assert len(reported) <= 500


@pytest.mark.fuzz
@given(st.one_of(st.none(), HOSTILE, st.from_regex(r"[0-9]{1,22}( LAST)?( ?LAST)?")))
def test_any_argument_of_bdat_is_a_chunk_or_refused(argument: str | None) -> None:
    try:
        chunk = parse_bdat(argument)
    except SyntaxRefused as refused:
        assert_short_line(refused)
        return
    words = (argument or "").split(" ")
    assert words[0].isascii()
    assert chunk.size == int(words[0]) < 10**20
    assert chunk.last == ("LAST" in [word.upper() for word in words])


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_mail_parameters, "ENVID=" + "+2" * 50_000),
        (parse_mail_parameters, "A" * 64 + "-" * 100_000),
        (parse_rcpt_parameters, "NOTIFY=" + "SUCCESS," * 20_000),
        (parse_rcpt_parameters, "ORCPT=rfc822;" + "+41" * 50_000 + "+"),
        (parse_rcpt_parameters, "ORCPT=utf-8;" + r"\x{E9}" * 20_000 + "+"),
        (parse_rcpt_parameters, "ORCPT=utf-8;" + r"\x{" * 50_000),
        (parse_rcpt_parameters, "ORCPT=" + "a" * 100_000),
        (parse_bdat, "1" + " " * 100_000 + "x"),
        (parse_bdat, "9" * 100_000),
        (decode_xtext, "+" * 100_000),
    ],
    ids=lambda value: value[:14] if isinstance(value, str) else value.__name__,
)
def test_hostile_repetition_is_refused_without_backtracking(
    parse: Callable[[str], object], text: str
) -> None:
    # An exponential or quadratic search would meet the suite's time limit.
    with pytest.raises(SyntaxRefused):
        parse(text)
