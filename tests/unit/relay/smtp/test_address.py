"""Addresses and paths by RFC 5321 §4.1.2 and RFC 6531 §3.3; all other text is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.smtp.address import POSTMASTER, SmtpAddress, parse_address, parse_path
from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import parse_mail_parameters

ACCEPTED = [
    ("a@b.fr", "a", "b.fr"),
    ("claire.martin@a.mssante.fr", "claire.martin", "a.mssante.fr"),
    ("Claire.Martin@A.MSSante.FR", "Claire.Martin", "a.mssante.fr"),  # only the domain is folded
    ("a@localhost", "a", "localhost"),
    ("a@b-c.d--e.fr", "a", "b-c.d--e.fr"),
    ("a@1.2.3.fr", "a", "1.2.3.fr"),
    ("!#$%&'*+-/=?^_`{|}~@b.fr", "!#$%&'*+-/=?^_`{|}~", "b.fr"),
    ("hélène@b.fr", "hélène", "b.fr"),
    ("医者@b.fr", "医者", "b.fr"),
    ('"a b"@b.fr', '"a b"', "b.fr"),
    ('"a@b"@b.fr', '"a@b"', "b.fr"),
    (r'"a\"b"@b.fr', r'"a\"b"', "b.fr"),
    (r'"a\\"@b.fr', r'"a\\"', "b.fr"),
    (r'"\ "@b.fr', r'"\ "', "b.fr"),
    ('"<a>"@b.fr', '"<a>"', "b.fr"),
    ('".."@b.fr', '".."', "b.fr"),
    ('""@b.fr', '""', "b.fr"),
    ('"é"@b.fr', '"é"', "b.fr"),
    ("a" * 64 + "@b.fr", "a" * 64, "b.fr"),
    ("é" * 32 + "@b.fr", "é" * 32, "b.fr"),
    ("a@" + "b" * 63 + ".fr", "a", "b" * 63 + ".fr"),
    ("a@" + "b." * 126 + "fr", "a", "b." * 126 + "fr"),
    ("a@" + "b." * 127 + "f", "a", "b." * 127 + "f"),
    ("279035121518989@patient.mssante.fr", "279035121518989", "patient.mssante.fr"),
]

REFUSED = [
    "",
    "a",
    "@",
    "a@",
    "@b.fr",
    "a@b@c.fr",
    "a@@b.fr",
    ".a@b.fr",
    "a.@b.fr",
    "a..b@b.fr",
    "a b@b.fr",
    " a@b.fr",
    "a@b.fr ",
    "a @b.fr",
    "a@ b.fr",
    "a@b .fr",
    "a@.b.fr",
    "a@b.fr.",
    "a@b..fr",
    "a@-b.fr",
    "a@b-.fr",
    "a@b_c.fr",
    "a@b.f\u00e9",
    "a@\u212a.fr",  # KELVIN SIGN, whose lower case is the letter k
    "a@" + "b" * 64 + ".fr",
    "a" * 65 + "@b.fr",
    "é" * 33 + "@b.fr",  # 66 octets: the limit is not in characters
    "a@" + "b." * 127 + "fr",  # 256 octets
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "a@[]",
    "a(comment)@b.fr",
    "a,b@b.fr",
    "a;b@b.fr",
    "a:b@b.fr",
    "a<b@b.fr",
    "a>b@b.fr",
    "a\\b@b.fr",
    '"a"b@b.fr',
    'a"b"@b.fr',
    '"a"."b"@b.fr',
    '"a@b.fr',
    'a"@b.fr',
    '"a"b"@b.fr',
    '"a\\"@b.fr',
    "a@b.fr\n",
    "a@b.fr\r\n",
    "a@b.fr\0",
    "a\n@b.fr",
    "a\r@b.fr",
    "a\0@b.fr",
    "a\t@b.fr",
    "a\x7f@b.fr",
    '"a\n"@b.fr',
    '"a\r\nRCPT TO:<x@y.fr>"@b.fr',
    '"a\\\n"@b.fr',
    '"a\0"@b.fr',
    '"a\\\0"@b.fr',
    '"a\tb"@b.fr',
    '"a\\é"@b.fr',
    "a\u0085@b.fr",  # NEXT LINE
    "a\u009b2J@b.fr",  # a terminal's CSI
    "a\u2028@b.fr",
    '"a\u2029"@b.fr',
    "a\ud800@b.fr",
    "a\udcff@b.fr",  # an octet that was not UTF-8
    "a@b.\udcff",
]


@pytest.mark.parametrize(("text", "local", "domain"), ACCEPTED)
def test_an_address(text: str, local: str, domain: str) -> None:
    assert parse_address(text) == SmtpAddress(local, domain)
    assert parse_path(f"FROM:<{text}>", "FROM:") == (SmtpAddress(local, domain), "")
    assert str(parse_address(text)) == f"{local}@{domain}"


@pytest.mark.parametrize("text", REFUSED)
def test_not_an_address(text: str) -> None:
    with pytest.raises(SyntaxRefused) as bare:
        parse_address(text)
    assert (bare.value.reply.code, bare.value.reply.enhanced) == (553, "5.1.3")
    if text:
        with pytest.raises(SyntaxRefused):
            parse_path(f"TO:<{text}>", "TO:")


@pytest.mark.parametrize(
    ("argument", "address", "rest"),
    [
        ("FROM:<a@b.fr>", SmtpAddress("a", "b.fr"), ""),
        ("from:<a@b.fr>", SmtpAddress("a", "b.fr"), ""),
        ("FROM: <a@b.fr>", SmtpAddress("a", "b.fr"), ""),
        ("FROM:   <a@b.fr>  ", SmtpAddress("a", "b.fr"), ""),
        ("FROM:<a@b.fr> SIZE=1 BODY=7BIT", SmtpAddress("a", "b.fr"), "SIZE=1 BODY=7BIT"),
        ("FROM:<a@b.fr>  SIZE=1", SmtpAddress("a", "b.fr"), "SIZE=1"),
        ("FROM:<>", None, ""),
        ("FROM: <>", None, ""),
        ("FROM:<> SIZE=1", None, "SIZE=1"),
        # source routes are read and dropped: RFC 5321 §4.1.1.3, Appendix C
        ("FROM:<@r.fr:a@b.fr>", SmtpAddress("a", "b.fr"), ""),
        ("FROM:<@r.fr,@s.fr,@t.fr:a@b.fr> SIZE=1", SmtpAddress("a", "b.fr"), "SIZE=1"),
        ('FROM:<@r.fr:"@s.fr:x"@b.fr>', SmtpAddress('"@s.fr:x"', "b.fr"), ""),
        ('FROM:<"> SIZE=1"@b.fr>', SmtpAddress('"> SIZE=1"', "b.fr"), ""),
    ],
)
def test_a_path(argument: str, address: SmtpAddress | None, rest: str) -> None:
    assert parse_path(argument, "FROM:") == (address, rest)


@pytest.mark.parametrize(
    ("argument", "rest"),
    [
        ("TO:<Postmaster>", ""),
        ("to:<postmaster>", ""),
        ("TO: <POSTMASTER>", ""),
        ("TO:<pOsTmAsTeR>  NOTIFY=NEVER", "NOTIFY=NEVER"),
    ],
)
def test_the_postmaster_needs_no_domain_as_a_recipient(argument: str, rest: str) -> None:
    # RFC 5321 §4.1.1.3, §4.5.1
    assert parse_path(argument, "TO:") == (POSTMASTER, rest)
    assert SmtpAddress("postmaster", "") == POSTMASTER
    assert str(POSTMASTER) == POSTMASTER.masked == "postmaster"
    assert not POSTMASTER.needs_smtputf8


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("TO:Postmaster", 553),
        ("TO:<Postmaster", 553),
        ("TO:< Postmaster>", 553),
        ("TO:<Postmaster >", 553),
        ("TO:<Postmaster@>", 553),
        ("TO:<postmasters>", 553),
        ("TO:<post>", 553),
        ("TO:<abuse>", 553),
        ('TO:<"postmaster">', 553),
        ("TO:<@r.fr:Postmaster>", 553),
        ("TO:<po\u017ftmaster>", 553),  # LONG S, which ignoring case takes for an S
        ("TO:<Postmaster>NOTIFY=NEVER", 501),
        ("TO:<Postmaster>\r\nDATA", 501),
        ("TO:<Postmaster><c@d.fr>", 501),
    ],
)
def test_nobody_else_does_without_a_domain(argument: str, code: int) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_path(argument, "TO:")
    assert caught.value.reply.code == code


@pytest.mark.parametrize("text", ["postmaster", "Postmaster", "POSTMASTER"])
def test_the_postmaster_without_a_domain_is_no_sender_and_no_bare_address(text: str) -> None:
    with pytest.raises(SyntaxRefused):
        parse_path(f"FROM:<{text}>", "FROM:")
    with pytest.raises(SyntaxRefused):
        parse_address(text)


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("", 501),
        ("FROM", 501),
        ("FROM <a@b.fr>", 501),
        ("TO:<a@b.fr>", 501),
        ("FRO\u039c:<a@b.fr>", 501),  # GREEK CAPITAL LETTER MU
        ("FROM :<a@b.fr>", 501),
        ("FROM:", 553),
        ("FROM:a@b.fr", 553),
        ("FROM:<a@b.fr", 553),
        ("FROM:a@b.fr>", 553),
        ("FROM:< a@b.fr>", 553),
        ("FROM:<a@b.fr >", 553),
        ("FROM:<<a@b.fr>>", 553),
        ("FROM:< >", 553),
        ("FROM:\t<a@b.fr>", 553),
        ("FROM:<postmaster>", 553),
        ("FROM:<r.fr:a@b.fr>", 553),
        ("FROM:<@r.fr,s.fr:a@b.fr>", 553),
        ("FROM:<@r.fr,:a@b.fr>", 553),
        ("FROM:<@r.fr a@b.fr>", 553),
        ("FROM:<@r.fr:>", 553),
        ("FROM:<@[192.0.2.1]:a@b.fr>", 553),
        ("FROM:<>SIZE=1", 553),
        ("FROM:<a@b.fr>SIZE=1", 501),
        ("FROM:<a@b.fr>\tSIZE=1", 501),
        ("FROM:<a@b.fr>\r\nRCPT TO:<c@d.fr>", 501),
        ("FROM:<a@b.fr>\0", 501),
        ("FROM:<a@b.fr><c@d.fr>", 501),
        ("FROM:<a@b.fr>,<c@d.fr>", 501),
        ("FROM:<>\r\nRCPT TO:<c@d.fr>", 553),
        ("FROM:<" + "a" * 65 + "@b.fr>", 553),
    ],
)
def test_not_a_path(argument: str, code: int) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        parse_path(argument, "FROM:")
    assert caught.value.reply.code == code
    assert caught.value.reply.text.isascii()


@pytest.mark.parametrize(
    "argument",
    [
        "FROM:<a@b.fr> <c@d.fr>",
        "FROM:<a@b.fr> \r\nRCPT TO:<c@d.fr>",
        "FROM:<a@b.fr> SIZE=1\rBODY=7BIT",
        "FROM:<> <c@d.fr>",
    ],
)
def test_a_second_path_or_command_does_not_pass_for_parameters(argument: str) -> None:
    _, rest = parse_path(argument, "FROM:")
    with pytest.raises(SyntaxRefused, match="Malformed"):
        parse_mail_parameters(rest)


def test_what_is_too_long_is_told_apart() -> None:
    with pytest.raises(SyntaxRefused, match=r"553 5\.1\.3 Address too long"):
        parse_address("é" * 33 + "@b.fr")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("279035121518989@patient.mssante.fr", "***@patient.mssante.fr"),
        ("279035121518989@Patient.MSSante.FR", "***@patient.mssante.fr"),
        ('"2 79"@patient.mssante.fr', "***@patient.mssante.fr"),
        ("dr@b.mssante.fr", "dr@b.mssante.fr"),
        ("dr@patient.mssante.fr.example", "dr@patient.mssante.fr.example"),
    ],
)
def test_the_identifier_of_a_patient_is_masked(text: str, masked: str) -> None:
    # DOMAIN §1.5: the INS is health data
    assert parse_address(text).masked == masked


def test_which_addresses_need_smtputf8() -> None:
    # RFC 6531 §3.4
    assert parse_address("hélène@b.fr").needs_smtputf8
    assert parse_address('"é"@b.fr').needs_smtputf8
    assert not parse_address('"e"@b.fr').needs_smtputf8


@pytest.mark.parametrize(
    "path",
    [
        "<" + "a." * 2000 + "@b.fr>",
        "<" + "a" * 4000,
        '<"' + r"\"" * 2000,
        '<"' + "a" * 4000 + '"@',
        "<@a" + ",@a" * 1300 + ">",
        "<@" + "a-" * 2000 + ":a@b.fr>",
        "<a@" + "a-" * 2000 + ">",
        "<a@" + "a." * 2000 + ">",
        " " * 4000,
    ],
)
def test_hostile_repetition_is_refused_without_backtracking(path: str) -> None:
    # An exponential or cubic search would meet the suite's time limit.
    with pytest.raises(SyntaxRefused):
        parse_path(f"FROM:{path}", "FROM:")


HOSTILE = st.text(st.sampled_from('<>@"\\,:;.-[]() ab1é\r\n\0\t\x7f\u0085\u2028\ud800\U0001f600'))
CANDIDATES = st.one_of(
    HOSTILE,
    st.text(st.characters()),
    st.builds("{}@{}".format, HOSTILE, st.sampled_from(["b.fr", "B.FR", "[1]", "b.fr>", ""])),
    st.builds('"{}"@b.fr'.format, HOSTILE),
    st.builds("<{}@b.fr>{}".format, HOSTILE, HOSTILE),
)


@pytest.mark.fuzz
@given(CANDIDATES)
@example("a\ud800@b.fr")
@example('"\\"@b.fr')
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except SyntaxRefused:
        return
    assert parse_address(str(address)) == address
    assert parse_path(f"TO:<{address}>", "TO:") == (address, "")
    assert_harmless(address)


@pytest.mark.fuzz
@given(
    st.builds(
        "{}{}".format, st.sampled_from(["TO:", "to: ", "TO:<", "TO:<PostMaster>", ""]), CANDIDATES
    )
)
def test_any_argument_is_a_path_or_refused(argument: str) -> None:
    try:
        address, rest = parse_path(argument, "TO:")
    except SyntaxRefused:
        return
    assert argument.rstrip(" ").endswith(rest)
    if address == POSTMASTER:
        assert "<postmaster>" in argument.lower()
    elif address is not None:
        assert parse_address(str(address)) == address
        assert_harmless(address)


def assert_harmless(address: SmtpAddress) -> None:
    """No part of the address has a meaning in a command, a header, a log or a query."""
    octets = str(address).encode()
    assert len(octets) <= 64 + 1 + 255
    assert all(octet >= 32 and octet != 127 for octet in octets)
    assert str(address).splitlines() == [str(address)]
    assert address.domain.isascii()
    assert address.domain == address.domain.lower()
    assert set(address.domain).isdisjoint(' <>@",:;()[]\\')
    if not address.local.startswith('"'):
        assert set(address.local).isdisjoint(' <>@",:;()[]\\')
