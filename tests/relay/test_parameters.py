"""Parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import SyntaxRefused
from relay.parameters import MailParameters, parse_mail_parameters, parse_rcpt_parameters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", MailParameters()),
        ("   ", MailParameters()),
        ("SIZE=0", MailParameters(size=0)),
        ("SIZE=1000000", MailParameters(size=1_000_000)),
        ("SIZE=00012", MailParameters(size=12)),
        ("SIZE=" + "9" * 20, MailParameters(size=10**20 - 1)),  # RFC 1870 §4: up to 20 digits
        ("BODY=7BIT", MailParameters()),
        ("BODY=8BITMIME", MailParameters(eight_bit=True)),
        ("body=8bitmime", MailParameters(eight_bit=True)),
        ("SMTPUTF8", MailParameters(smtputf8=True)),
        ("smtputf8  size=5   Body=8BITMIME", MailParameters(5, eight_bit=True, smtputf8=True)),
    ],
)
def test_what_mail_may_declare(text: str, expected: MailParameters) -> None:
    assert parse_mail_parameters(text) == expected


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("SIZE", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=x", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=-1", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=+1", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=1.5", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=1_000", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=0x10", "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=" + "9" * 21, "501 5.5.4 SIZE takes a number of octets"),
        ("SIZE=" + "9" * 4000, "501 5.5.4 SIZE takes a number of octets"),
        ("BODY", "501 5.5.4 BODY is 7BIT or 8BITMIME"),
        ("BODY=BINARYMIME", "501 5.5.4 BODY is 7BIT or 8BITMIME"),
        ("SMTPUTF8=1", "501 5.5.4 SMTPUTF8 takes no value"),
        ("SIZE=1 SIZE=1", "501 5.5.4 MAIL parameter SIZE given twice"),
        ("SIZE=1 size=2", "501 5.5.4 MAIL parameter SIZE given twice"),
        ("BODY=7BIT SIZE=1 BODY=8BITMIME", "501 5.5.4 MAIL parameter BODY given twice"),
        ("SMTPUTF8 SMTPUTF8", "501 5.5.4 MAIL parameter SMTPUTF8 given twice"),
        ("REQUIRETLS", "555 5.5.4 MAIL parameter REQUIRETLS not offered here"),
        ("AUTH=<>", "555 5.5.4 MAIL parameter AUTH not offered here"),
        ("RET=HDRS", "555 5.5.4 MAIL parameter RET not offered here"),
        ("ENVID=x SIZE=1", "555 5.5.4 MAIL parameter ENVID not offered here"),
        ("SIZE=", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE==1", "501 5.5.4 Malformed MAIL parameter"),
        ("=1", "501 5.5.4 Malformed MAIL parameter"),
        ("-X", "501 5.5.4 Malformed MAIL parameter"),
        ("X_Y", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE =1", "501 5.5.4 Malformed MAIL parameter"),
        ("<c@d.fr>", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=1\tBODY=7BIT", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=1\rBODY=7BIT", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=1\nBODY=7BIT", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=1\0", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=1\n", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=1\u00a0BODY=7BIT", "501 5.5.4 Malformed MAIL parameter"),
        ("SIZE=\u0661", "501 5.5.4 Malformed MAIL parameter"),  # ARABIC-INDIC DIGIT ONE
        ("\u017fIZE=1", "501 5.5.4 Malformed MAIL parameter"),  # LONG S, upper case S
        ("X=\udcff", "501 5.5.4 Malformed MAIL parameter"),
        ("X" * 4000, "501 5.5.4 Malformed MAIL parameter"),
    ],
)
def test_what_mail_may_not_declare(text: str, reply: str) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_mail_parameters(text)
    assert str(caught.value.reply) == reply


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("NOTIFY=NEVER", "555 5.5.4 RCPT parameter NOTIFY not offered here"),
        ("ORCPT=rfc822;a@b.fr", "555 5.5.4 RCPT parameter ORCPT not offered here"),
        ("SIZE=1", "555 5.5.4 RCPT parameter SIZE not offered here"),
        ("X X", "501 5.5.4 RCPT parameter X given twice"),
        ("<c@d.fr>", "501 5.5.4 Malformed RCPT parameter"),
    ],
)
def test_rcpt_takes_no_parameter_yet(text: str, reply: str) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_rcpt_parameters(text)
    assert str(caught.value.reply) == reply


def test_rcpt_without_parameters() -> None:
    parse_rcpt_parameters("")
    parse_rcpt_parameters("  ")


WORDS = st.one_of(
    st.sampled_from(["SIZE=1", "size=2", "BODY=7BIT", "body=8bitmime", "SMTPUTF8", "X", "X=1"]),
    st.text(st.characters(), max_size=80),
)


@pytest.mark.fuzz
@given(st.lists(WORDS, max_size=5).map(" ".join))
def test_any_text_is_understood_whole_or_refused_in_one_short_line(text: str) -> None:
    try:
        found = parse_mail_parameters(text)
    except SyntaxRefused as refused:
        # RFC 5321 §4.5.3.1.5: 512 octets, of which the session's id takes some
        line = str(refused.reply)
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 200
        return
    words = {word.partition("=")[0].upper() for word in text.split(" ") if word}
    assert words <= {"SIZE", "BODY", "SMTPUTF8"}
    assert (found.size is not None) == ("SIZE" in words)
    assert found.smtputf8 == ("SMTPUTF8" in words)
