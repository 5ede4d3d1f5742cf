"""DSNs to the octet (RFC 3461 §5, RFC 3464, RFC 6522, RFC 6533)."""

import email
from dataclasses import replace
from datetime import timedelta
from email import policy
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import cast

import pytest

from relay.dsn.builder import Action, ReportedRecipient, build_report
from tests.support.delivery.report_facts import CLAIRE, FACTS, LOST, WHOLE, made
from tests.support.delivery.reports import octets_of, read_report


def test_a_report_by_the_letter() -> None:
    # DOMAIN §3.3: the accusé de réception; RFC 3464 §2, RFC 3834 §5
    assert octets_of(build_report(FACTS)).decode("ascii").split("\r\n") == [
        "From: <postmaster@a.mssante.fr>",
        "To: <dr@b.mssante.fr>",
        "Subject: =?utf-8?q?Accus=C3=A9_de_r=C3=A9ception_/_Delivery_report?=",
        "Date: Sun, 22 Nov 2026 10:11:13 +0100",
        "Message-ID: <019350000000700080000000000000cc@smtp.a.mssante.fr>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        ' boundary="019350000000700080000000000000cc.0"',
        "",
        "--019350000000700080000000000000cc.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Accus=C3=A9 de r=C3=A9ception envoy=C3=A9 automatiquement par smtp.a.mssant=",
        "e.fr.",
        "Votre message est arriv=C3=A9 le 22/11/2026 =C3=A0 10:11:12 (UTC+0100).",
        "",
        "Il a =C3=A9t=C3=A9 remis dans la bo=C3=AEte aux lettres de :",
        "  claire.martin@a.mssante.fr",
        "",
        "Ceci ne dit pas si le message a =C3=A9t=C3=A9 lu.",
        "",
        "* * *",
        "",
        "Delivery report sent automatically by smtp.a.mssante.fr.",
        "Your message arrived on Sun, 22 Nov 2026 10:11:12 +0100.",
        "",
        "It was delivered to the mailbox of:",
        "  claire.martin@a.mssante.fr",
        "",
        "This does not say whether the message was read.",
        "--019350000000700080000000000000cc.0",
        "Content-Type: message/delivery-status",
        "",
        "Original-Envelope-Id: QQ314159",
        "Reporting-MTA: dns; smtp.a.mssante.fr",
        "Arrival-Date: Sun, 22 Nov 2026 10:11:12 +0100",
        "",
        "Original-Recipient: rfc822;Claire@a.mssante.fr",
        "Final-Recipient: rfc822;claire.martin@a.mssante.fr",
        "Action: delivered",
        "Status: 2.1.5",
        "",
        "--019350000000700080000000000000cc.0",
        "Content-Type: text/rfc822-headers",
        "Content-Transfer-Encoding: 7bit",
        "",
        "From: dr@b.mssante.fr",
        "Subject: x",
        "",
        "--019350000000700080000000000000cc.0--",
        "",
    ]


def test_programs_read_it_as_rfc_6522_wants() -> None:
    parsed = email.message_from_bytes(octets_of(build_report(FACTS)), policy=policy.SMTP)
    assert parsed["Subject"] == "Accusé de réception / Delivery report"
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsedate_to_datetime(parsed["Date"]) == FACTS.at
    words, status, original = parsed.iter_parts()
    assert "remis dans la boîte aux lettres de :\r\n  claire.martin@" in words.get_content()
    of_message, of_claire = cast("list[Message]", status.get_payload())
    assert parsedate_to_datetime(of_message["Arrival-Date"]) == FACTS.arrival
    assert of_claire["Final-Recipient"] == "rfc822;claire.martin@a.mssante.fr"
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_payload(decode=True) == FACTS.headers


def test_what_was_not_said_is_not_told() -> None:
    silent = replace(FACTS, envid=None, recipients=(replace(CLAIRE, orcpt=None),), headers=b"")
    report = read_report(made(silent))
    assert "Original-Envelope-Id" not in report.message
    assert "Original-Recipient" not in report.recipients[0]
    assert "Diagnostic-Code" not in report.recipients[0]
    assert report.original_type == ""


@pytest.mark.parametrize(
    ("envid", "said"),
    [("QQ314159", "QQ314159"), ("a+20b+2B+3D", "a b+="), ("+20x", " x"), ("x" * 100, "x" * 100)],
)
def test_the_envelope_is_named_decoded(envid: str, said: str) -> None:
    # RFC 3464 §2.2.1
    assert read_report(made(replace(FACTS, envid=envid))).message == {
        "Original-Envelope-Id": said,
        "Reporting-MTA": "dns; smtp.a.mssante.fr",
        "Arrival-Date": "Sun, 22 Nov 2026 10:11:12 +0100",
    }


@pytest.mark.parametrize(
    ("address", "orcpt", "original", "final"),
    [
        ("a@b.fr", "RFC822;+22a+20b+22@c.fr", 'RFC822;"a b"@c.fr', "rfc822;a@b.fr"),
        ('"a b"@c.fr', "x-ext;a;b", "x-ext;a;b", 'rfc822;"a b"@c.fr'),
        ("postmaster", "rfc822;Postmaster", "rfc822;Postmaster", "rfc822;postmaster"),
        (
            "hélène+x@b.fr",
            "utf-8;hélène@b.fr",
            r"utf-8;h\x{E9}l\x{E8}ne@b.fr",
            r"utf-8;h\x{E9}l\x{E8}ne\x{2B}x@b.fr",
        ),
        (
            '"é =\\\\"@b.fr',
            r"utf-8;\x{533B}@b.fr",
            r"utf-8;\x{533B}@b.fr",
            r'utf-8;"\x{E9}\x{20}\x{3D}\x{5C}\x{5C}"@b.fr',
        ),
        ("a@b.fr", f"rfc822;{'x' * 493}", f"rfc822;{'x' * 493}", "rfc822;a@b.fr"),
    ],
    ids=["encoded", "quoted", "postmaster", "utf-8", "utf-8-quoted", "longest"],
)
def test_recipients_are_named_with_their_types(
    address: str, orcpt: str, original: str, final: str
) -> None:
    # RFC 3464 §2.3.1, §2.3.2; RFC 6533 §3: 7 bits in message/delivery-status
    recipient = replace(CLAIRE, address=address, orcpt=orcpt)
    report = read_report(made(replace(FACTS, recipients=(recipient,))))
    assert report.recipients == [
        {
            "Original-Recipient": original,
            "Final-Recipient": final,
            "Action": "delivered",
            "Status": "2.1.5",
        }
    ]
    assert report.words.count(f"\r\n  {address}\r\n") == 2  # once in French, once in English
    assert report.header["From"] == "<postmaster@a.mssante.fr>"


def test_several_recipients_share_a_report_each_with_its_own_fields() -> None:
    recipients = tuple(
        replace(CLAIRE, address=f"r{n}@a.mssante.fr", orcpt=f"rfc822;o{n}@a.mssante.fr")
        for n in range(1000)
    )
    passed_on = ReportedRecipient(
        "x@c.mssante.fr", Action.RELAYED, "2.1.9", None, "250 2.0.0 Ok: queued as é\r\nX: y"
    )
    report = read_report(made(replace(FACTS, recipients=(*recipients, passed_on))))
    *told, last = report.recipients
    assert [fields["Final-Recipient"] for fields in told] == [
        f"rfc822;r{n}@a.mssante.fr" for n in range(1000)
    ]
    assert [fields["Original-Recipient"] for fields in told] == [
        f"rfc822;o{n}@a.mssante.fr" for n in range(1000)
    ]
    assert last == {
        "Final-Recipient": "rfc822;x@c.mssante.fr",
        "Action": "relayed",
        "Status": "2.1.9",
        "Diagnostic-Code": r"smtp; 250 2.0.0 Ok: queued as \C3\A9\0D\0AX: y",
    }
    french, english = report.words.split("* * *")
    assert french.index("  r999@") < french.index("n'envoie pas d'accusé") < french.index("  x@c.")
    assert english.index("  r999@") < english.index("sends no reports") < english.index("  x@c.")


def test_a_long_diagnostic_is_cut() -> None:
    passed_on = replace(CLAIRE, action=Action.RELAYED, diagnostic="250 " + "é" * 5000)
    (fields,) = read_report(made(replace(FACTS, recipients=(passed_on,)))).recipients
    assert fields["Diagnostic-Code"].startswith(r"smtp; 250 \C3\A9")
    assert len(fields["Diagnostic-Code"]) < 998


ACCENT = "From: dr@b.fr\r\nSubject: café\r\n".encode()
LATIN = b"From: dr@b.fr\r\nSubject: caf\xe9\r\n"


@pytest.mark.parametrize(
    ("headers", "smtputf8", "kind", "eight_bit"),
    [
        (b"Subject: x\r\n", False, "text/rfc822-headers", False),
        (b"Subject: x\r\n", True, "text/rfc822-headers", False),
        (b"Subject: x", False, "text/rfc822-headers", False),
        (ACCENT, False, "text/rfc822-headers", False),
        (ACCENT, True, "message/global-headers", True),
        (LATIN, False, "text/rfc822-headers", False),
        (LATIN, True, "text/rfc822-headers", False),
        (ACCENT + b"X: \0\r\n", True, "text/rfc822-headers", False),
        (b"X: a\rb\nc\0d\r\n", False, "text/rfc822-headers", False),
        (b"X: " + b"x" * 2000 + b"\r\n", False, "text/rfc822-headers", False),
        (b"X: y \r\n \t\r\n=3D =\r\n.\r\n.x\r\n\r", False, "text/rfc822-headers", False),
    ],
    ids=[
        *("ascii", "ascii-smtputf8", "no-end", "utf-8", "utf-8-smtputf8", "latin-1"),
        *("latin-1-smtputf8", "nul-smtputf8", "stray", "long", "blanks-and-dots"),
    ],
)
def test_the_original_header_section_comes_back_to_the_octet(
    headers: bytes, smtputf8: bool, kind: str, eight_bit: bool
) -> None:
    # RFC 6522 §4: quoted-printable for broken headers; RFC 6533 §4.3
    octets = made(replace(FACTS, headers=headers, smtputf8=smtputf8))
    report = read_report(octets)
    assert (report.original_type, report.original) == (kind, headers)
    assert octets.isascii() != eight_bit


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (b"X: y\r\n" * 10_922 + b"Z: y", 10_922),  # 65 536 octets
        (b"X: y\r\n" * 10_923, 10_922),
        (b"X: y\r\n" * 50_000, 10_922),
        (b"X: y\r\n" + b"x" * 100_000, 1),
        (b"x" * 100_000, 0),
    ],
    ids=["whole", "one-more", "many", "long-last", "one-line"],
)
def test_of_a_long_header_section_whole_lines_come_back(headers: bytes, kept: int) -> None:
    report = read_report(made(replace(FACTS, headers=headers)))
    if len(headers) <= 64 * 1024:
        assert report.original == headers
    else:
        assert report.original == b"X: y\r\n" * kept


def test_a_boundary_in_the_original_is_not_ours() -> None:
    forged = f"X: y\r\n--{FACTS.message_id}.0--\r\n--{FACTS.message_id}.1\r\n".encode()
    report = read_report(made(replace(FACTS, headers=forged)))
    assert report.header["Content-Type"].endswith(f'boundary="{FACTS.message_id}.2"')
    assert report.original == forged


def test_a_sender_in_utf8_is_written_as_it_is() -> None:
    # RFC 6532 §3: the message came with SMTPUTF8, so the DSN is sent with it
    octets = made(replace(FACTS, to="hélène@b.fr", smtputf8=True))
    assert octets.split(b"\r\n")[1] == "To: <hélène@b.fr>".encode()


def test_a_failure_tells_programs_all_that_is_known() -> None:
    # RFC 3464 §2.3, in its order
    late = replace(
        LOST,
        action=Action.DELAYED,
        status="4.4.1",
        diagnostic="Connection refused",
        retry_until=FACTS.at + timedelta(days=5),
    )
    octets = made(replace(FACTS, recipients=(LOST, late)))
    status = octets.split(b"Content-Type: message/delivery-status\r\n\r\n")[1]
    _, lost, delayed, _ = status.decode("ascii").split("\r\n\r\n", 3)
    assert lost.split("\r\n") == [
        "Original-Recipient: rfc822;Paul@b.mssante.fr",
        "Final-Recipient: rfc822;paul@b.mssante.fr",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx1.b.mssante.fr",
        "Diagnostic-Code: smtp; 550 5.1.1 No such mailbox here",
        "Last-Attempt-Date: Sun, 22 Nov 2026 10:11:13 +0100",
    ]
    assert delayed.split("\r\n")[:8] == [
        "Original-Recipient: rfc822;Paul@b.mssante.fr",
        "Final-Recipient: rfc822;paul@b.mssante.fr",
        "Action: delayed",
        "Status: 4.4.1",
        "Remote-MTA: dns; mx1.b.mssante.fr",
        "Diagnostic-Code: x-mssante; Connection refused",
        "Last-Attempt-Date: Sun, 22 Nov 2026 10:11:13 +0100",
        "Will-Retry-Until: Fri, 27 Nov 2026 10:11:13 +0100",
    ]


@pytest.mark.parametrize("remote", ["", "mx b.fr", "mx\r\nX: y", "é.fr", "x" * 254, "a;b", "(x)"])
def test_a_host_with_no_name_of_one_is_not_named(remote: str) -> None:
    (fields,) = read_report(
        made(replace(FACTS, recipients=(replace(LOST, remote=remote),)))
    ).recipients
    assert "Remote-MTA" not in fields


MESSAGE = (
    b"From: dr@b.mssante.fr\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"caf\xc3\xa9\r\n.\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("smtputf8", "eight_bit", "kind", "encoding"),
    [
        (False, True, "message/rfc822", "8bit"),
        (True, True, "message/global", "8bit"),
        (True, False, "message/global", "8bit"),
    ],
)
def test_a_message_goes_back_as_it_came(
    smtputf8: bool, eight_bit: bool, kind: str, encoding: str
) -> None:
    # RFC 3461 §4.3; RFC 2046 §5.2.1 and RFC 6532 §3.7: in no other encoding
    built = build_report(replace(WHOLE, smtputf8=smtputf8, eight_bit=eight_bit))
    assert (built.whole, built.eight_bit, built.smtputf8) == (True, True, smtputf8)
    octets = octets_of(built, MESSAGE)
    assert read_report(octets).original == MESSAGE
    parsed = email.message_from_bytes(octets, policy=policy.SMTP)
    assert parsed["Content-Transfer-Encoding"] == encoding
    _, _, original = parsed.iter_parts()
    assert original.get_content_type() == kind
    assert original["Content-Transfer-Encoding"] == encoding


def test_a_message_of_seven_bits_makes_a_report_of_seven_bits() -> None:
    built = build_report(replace(WHOLE, eight_bit=False))
    assert not built.eight_bit
    octets = octets_of(built, b"Subject: x\r\n\r\nno end of line")
    assert b"8bit" not in octets
    assert read_report(octets).original == b"Subject: x\r\n\r\nno end of line"
    parsed = email.message_from_bytes(octets, policy=policy.SMTP)
    _, _, original = parsed.iter_parts()
    (message,) = cast("list[Message]", original.get_payload())
    assert message["Subject"] == "x"
    assert message.get_payload() == "no end of line"
