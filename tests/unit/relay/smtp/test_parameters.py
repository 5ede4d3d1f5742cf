"""Parameters of MAIL: RFC 1870, 3461, 6152 and 6531, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import (
    DsnReturn,
    MailParameters,
    decode_xtext,
    encode_xtext,
    parse_mail_parameters,
)


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
        # RFC 3461 §4.3
        ("RET=FULL", MailParameters(ret=DsnReturn.FULL)),
        ("ret=hdrs", MailParameters(ret=DsnReturn.HDRS)),
        # RFC 3461 §4.4, verbatim
        ("ENVID=QQ314159", MailParameters(envid="QQ314159")),
        ("ENVID=a+20b+2B+3D", MailParameters(envid="a+20b+2B+3D")),
        ("ENVID=" + "x" * 100, MailParameters(envid="x" * 100)),
        ("RET=HDRS ENVID=MiXed SIZE=1", MailParameters(1, ret=DsnReturn.HDRS, envid="MiXed")),
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
        ("BODY=BINARYMIME", "555 5.5.4 BODY=BINARYMIME not offered here"),
        ("BODY=EBCDIC", "501 5.5.4 BODY is 7BIT or 8BITMIME"),
        ("SMTPUTF8=1", "501 5.5.4 SMTPUTF8 takes no value"),
        ("SIZE=1 SIZE=1", "501 5.5.4 MAIL parameter SIZE given twice"),
        ("SIZE=1 size=2", "501 5.5.4 MAIL parameter SIZE given twice"),
        ("BODY=7BIT SIZE=1 BODY=8BITMIME", "501 5.5.4 MAIL parameter BODY given twice"),
        ("SMTPUTF8 SMTPUTF8", "501 5.5.4 MAIL parameter SMTPUTF8 given twice"),
        ("REQUIRETLS", "555 5.5.4 MAIL parameter REQUIRETLS not offered here"),
        ("AUTH=<>", "555 5.5.4 MAIL parameter AUTH not offered here"),
        ("NOTIFY=NEVER", "555 5.5.4 MAIL parameter NOTIFY not offered here"),
        ("ORCPT=rfc822;a@b.fr", "555 5.5.4 MAIL parameter ORCPT not offered here"),
        ("X X", "555 5.5.4 MAIL parameter X not offered here"),
        ("RET", "501 5.5.4 RET is FULL or HDRS"),
        ("RET=NONE", "501 5.5.4 RET is FULL or HDRS"),
        ("RET=FULL,HDRS", "501 5.5.4 RET is FULL or HDRS"),
        ("RET=FULL RET=HDRS", "501 5.5.4 MAIL parameter RET given twice"),
        ("ENVID=a envid=a", "501 5.5.4 MAIL parameter ENVID given twice"),
        ("ENVID", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=" + "x" * 101, "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=a+", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=a+2", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=a+2b", "501 5.5.4 ENVID takes xtext of at most 100 characters"),  # lower case
        ("ENVID=a+0D+0ABcc:+20x", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=a+09b", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=a+7F", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=caf+E9", "501 5.5.4 ENVID takes xtext of at most 100 characters"),
        ("ENVID=caf\u00e9", "501 5.5.4 Malformed MAIL parameter"),
        ("ENVID=a=b", "501 5.5.4 Malformed MAIL parameter"),
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
        ("BODY=8B\u0131TMIME", "501 5.5.4 Malformed MAIL parameter"),  # upper case I
        ("RET=HDR\u017f", "501 5.5.4 Malformed MAIL parameter"),  # LONG S, upper case S
        ("\u017fIZE=1", "501 5.5.4 Malformed MAIL parameter"),  # LONG S, upper case S
        ("X=\udcff", "501 5.5.4 Malformed MAIL parameter"),
        ("X" * 4000, "501 5.5.4 Malformed MAIL parameter"),
    ],
)
def test_what_mail_may_not_declare(text: str, reply: str) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_mail_parameters(text)
    assert str(caught.value.reply) == reply


HOSTILE = st.text(st.sampled_from("+=;0129AFaf\t\r\n\0\x7fé\u2028\ud800"), max_size=30)
MAIL_WORDS = st.one_of(
    st.sampled_from(["SIZE=1", "size=2", "BODY=7BIT", "body=8bitmime", "SMTPUTF8", "X", "X=1"]),
    st.sampled_from(["RET=FULL", "ret=hdrs", "ENVID=x+20", "envid=+41"]),
    st.builds("ENVID={}".format, HOSTILE),
    st.text(st.characters(), max_size=80),
)


@pytest.mark.fuzz
@given(st.lists(MAIL_WORDS, max_size=5).map(" ".join))
def test_any_text_of_mail_is_understood_whole_or_refused_in_one_short_line(text: str) -> None:
    try:
        found = parse_mail_parameters(text)
    except SyntaxRefused as refused:
        # RFC 5321 §4.5.3.1.5: 512 octets, of which the session's id takes some
        line = str(refused.reply)
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 200
        return
    given_words = dict(word.partition("=")[::2] for word in text.split(" ") if word)
    words = {word.upper(): value for word, value in given_words.items()}
    assert set(words) <= {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"}
    assert (found.size is not None) == ("SIZE" in words)
    assert found.smtputf8 == ("SMTPUTF8" in words)
    assert (found.ret is not None) == ("RET" in words)
    assert found.envid == words.get("ENVID")
    if found.envid is not None:
        assert decode_xtext(found.envid).isprintable()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30))
def test_xtext_there_and_back(text: str) -> None:
    encoded = encode_xtext(text)
    assert decode_xtext(encoded) == text
    assert parse_mail_parameters(f"ENVID={encoded}").envid == encoded


@pytest.mark.parametrize("text", ["é", "a\r\nb", "\x7f", "\t"])
def test_what_xtext_cannot_say(text: str) -> None:
    with pytest.raises(SyntaxRefused, match="Not printable"):
        encode_xtext(text)
