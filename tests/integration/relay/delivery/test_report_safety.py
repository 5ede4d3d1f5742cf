"""DSNs contain only lines and parts of ours: no text of a peer can look like one."""

import email
from dataclasses import replace
from email import policy
from email.message import Message
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.dsn.builder import (
    DELIVERED_STATUS,
    Action,
    Cause,
    ReportedRecipient,
    ReportFacts,
    build_report,
)
from relay.smtp.address import parse_address
from relay.smtp.errors import SyntaxRefused
from relay.smtp.parameters import decode_orcpt, decode_xtext
from tests.support.delivery.report_facts import CLAIRE, FACTS, LOST, WHOLE, made
from tests.support.delivery.reports import octets_of, read_report
from tests.support.storage.cutting import made_of


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, to=""),  # RFC 5321 §4.5.5: no DSN to <>
        replace(FACTS, to="<>"),
        replace(FACTS, to="postmaster"),
        replace(FACTS, to="dr@b.fr>\r\nBcc: x@evil.fr"),
        replace(FACTS, to="dr@b.fr, x@evil.fr"),
        replace(FACTS, envid="a+0D+0ABcc:+20x"),
        replace(FACTS, envid="a\r\nBcc: x"),
        replace(FACTS, recipients=(replace(CLAIRE, orcpt="rfc822;a+0D+0AX:+20y"),)),
        replace(FACTS, recipients=(replace(CLAIRE, orcpt="rfc822;a\r\nX: y"),)),
        replace(FACTS, recipients=(replace(CLAIRE, orcpt="a@b.fr"),)),
        replace(FACTS, recipients=(replace(CLAIRE, address="a@b.fr\r\nX: y"),)),
        replace(FACTS, recipients=(replace(CLAIRE, address="abuse"),)),
    ],
    ids=[
        *("null", "brackets", "no-domain", "to-lines", "to-list", "envid-encoded", "envid-lines"),
        *("orcpt-encoded", "orcpt-lines", "orcpt-bare", "recipient-lines", "recipient-bare"),
    ],
)
def test_what_the_parsers_refuse_is_not_written(facts: ReportFacts) -> None:
    with pytest.raises(SyntaxRefused):
        build_report(facts)


def test_our_own_mistakes_are_not_written_either() -> None:
    with pytest.raises(ValueError, match="needs a recipient"):
        build_report(replace(FACTS, recipients=()))
    with pytest.raises(ValueError, match="control characters"):
        build_report(replace(FACTS, hostname="smtp.a.mssante.fr\r\nBcc: x@evil.fr"))
    with pytest.raises(ValueError, match="too long"):
        build_report(replace(FACTS, hostname="a" * 2000))


ADDRESS = st.one_of(
    st.builds("{}@b.fr".format, st.from_regex(r"[a-zA-Z0-9+=/é医😀-]{1,16}", fullmatch=True)),
    st.from_regex(r'"([ !#-\[\]-~é]|\\[ -~]){0,16}"@b\.fr', fullmatch=True),
)
XTEXT = st.from_regex(r"([!-*,-<>-~]|\+[2-6][0-9A-F]|\+7[0-9A-E]){1,30}", fullmatch=True)
ORCPT = st.one_of(
    st.builds("rfc822;{}".format, XTEXT),
    st.builds("utf-8;{}".format, st.from_regex(r"([!-*,-<>-\[\]-~é😀]|\\x\{(20|E9|1F600)\}){1,30}",
                                               fullmatch=True)),
)  # fmt: skip
SECTION = st.one_of(
    st.binary(max_size=300),
    made_of(
        *(
            b"\r\n",
            b"\r",
            b"\n",
            b"\0",
            b"--",
            f"--{FACTS.message_id}.0".encode(),
            b"=",
            b" ",
            b".",
        ),
        *(
            b"Subject: ",
            b"Content-Type: ",
            b"x" * 90,
            b"x" * 999,
            "é".encode(),
            b"\xe9",
            b"\r\n\r\n",
        ),
    ),
)


SAID = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(
        st.sampled_from(
            (
                *("550 ", "5.1.1 ", "\r\n", "\n", "\r", "\0", "\u2028", "\x85", "é", "--", "="),
                *("x" * 999, f"--{FACTS.message_id}.0", "Action: delivered", "\t", " "),
            )
        ),
        max_size=12,
    ).map("".join),
)


@pytest.mark.fuzz
@given(
    to=ADDRESS,
    envid=st.one_of(st.none(), XTEXT),
    recipients=st.lists(
        st.builds(
            ReportedRecipient,
            ADDRESS,
            st.sampled_from(Action),
            st.just(DELIVERED_STATUS),
            st.one_of(st.none(), ORCPT),
            SAID,
            st.sampled_from(Cause),
            st.one_of(st.just("mx.b.fr"), SAID),
            st.one_of(st.none(), st.just(FACTS.at)),
            st.one_of(st.none(), st.just(FACTS.at)),
        ),
        min_size=1,
        max_size=4,
    ),
    headers=SECTION,
    smtputf8=st.booleans(),
)
@example(
    to='"a> \\"@b.fr>"@b.fr',
    envid="+20--+20",
    recipients=[replace(CLAIRE, diagnostic="x\r\n\r\n--\u2028")],
    headers=b"\r\n\r\n--x\r\n",
    smtputf8=True,
)
def test_nobody_injects_anything_into_a_report(
    to: str,
    envid: str | None,
    recipients: list[ReportedRecipient],
    headers: bytes,
    smtputf8: bool,
) -> None:
    facts = replace(FACTS, to=to, envid=envid, headers=headers, smtputf8=smtputf8)
    octets = made(replace(facts, recipients=tuple(recipients)))
    report = read_report(octets)  # all fields, parts and lines are ours
    assert octets.isascii() or smtputf8 or not to.isascii()
    assert report.header["To"] == f"<{parse_address(to)}>"
    assert report.header["From"] == "<postmaster@a.mssante.fr>"
    assert report.message.get("Original-Envelope-Id") == (
        None if envid is None else decode_xtext(envid)
    )
    assert len(report.recipients) == len(recipients)
    for fields, recipient in zip(report.recipients, recipients, strict=True):
        orcpt = recipient.orcpt
        expected = None if orcpt is None else decode_orcpt(orcpt)
        assert fields.get("Original-Recipient") == expected
        assert fields["Action"] == recipient.action
        assert ("Diagnostic-Code" in fields) == bool(recipient.diagnostic)
    assert report.original == headers


LINE = made_of(
    *(b"--", b"--b", b".", b"Subject: ", b"Content-Type: message/rfc822", b"multipart/mixed"),
    *(b"=", b" ", b"\t", "é".encode(), b"\xe9", b"x" * 60, b"; boundary=b", b"From ", b": "),
    max_size=8,
)


@pytest.mark.fuzz
@given(
    lines=st.lists(LINE, max_size=30),
    smtputf8=st.booleans(),
    diagnostic=SAID,
    end=st.sampled_from([b"", b"\r\n"]),
)
def test_no_message_escapes_from_the_part_that_it_goes_back_in(
    lines: list[bytes], smtputf8: bool, diagnostic: str, end: bytes
) -> None:
    message = b"\r\n".join(lines) + end
    recipients = (replace(LOST, diagnostic=diagnostic), CLAIRE)
    built = build_report(replace(WHOLE, smtputf8=smtputf8, recipients=recipients))
    octets = octets_of(built, message)
    report = read_report(octets)
    assert report.original == message
    assert [fields["Action"] for fields in report.recipients] == ["failed", "delivered"]
    parsed = email.message_from_bytes(octets, policy=policy.compat32)
    words, status, original = cast("list[Message]", parsed.get_payload())
    assert words.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    of_message, lost, delivered, *rest = cast("list[Message]", status.get_payload())
    assert rest == [] or [str(one).strip() for one in rest] == [""]
    assert of_message["Reporting-MTA"] == "dns; smtp.a.mssante.fr"
    assert (lost["Status"], delivered["Status"]) == ("5.1.1", "2.1.5")
    assert original.get_content_type() == ("message/global" if smtputf8 else "message/rfc822")
