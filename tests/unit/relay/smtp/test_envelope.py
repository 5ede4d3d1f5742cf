"""The commands of an envelope by the peer's offers; no value can smuggle in others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.envelope import (
    Envelope,
    EnvelopeCommands,
    EnvelopeRecipient,
    PeerExtensions,
    commands,
)
from relay.smtp.parameters import ascii_form

TO = "x@a.mssante.fr"
ALL = PeerExtensions(
    size=1000, eight_bit=True, smtputf8=True, pipelining=True, chunking=True, dsn=True,
    knows_size=True,
)  # fmt: skip


def said(
    recipient: EnvelopeRecipient | str = TO,
    offers: PeerExtensions = ALL,
    *,
    size: int = 10,
    sender: str = "dr@b.mssante.fr",
    smtputf8: bool = False,
    envid: str | None = None,
    ret: str | None = None,
) -> EnvelopeCommands:
    one = EnvelopeRecipient(recipient) if isinstance(recipient, str) else recipient
    return commands(Envelope(sender, (one,), smtputf8, envid, ret), size, offers)


def test_what_is_offered_is_used() -> None:
    one = EnvelopeRecipient(TO, "SUCCESS,FAILURE", "rfc822;Cl+2BX@a.mssante.fr")
    made = said(one, smtputf8=True, envid="QQ+2B1", ret="HDRS")
    assert made.mail == (
        b"MAIL FROM:<dr@b.mssante.fr> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1\r\n"
    )
    assert made.rcpt == {
        TO: b"RCPT TO:<x@a.mssante.fr> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Cl+2BX@a.mssante.fr\r\n"
    }


def test_what_is_not_offered_is_not_said() -> None:
    one = EnvelopeRecipient(TO, "NEVER", "rfc822;x@a.mssante.fr")
    made = said(one, PeerExtensions(), envid="Q", ret="FULL")
    assert made.mail == b"MAIL FROM:<dr@b.mssante.fr>\r\n"
    assert made.rcpt == {TO: b"RCPT TO:<x@a.mssante.fr>\r\n"}


def test_the_null_sender() -> None:
    assert said(sender="").mail == b"MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n"


def test_a_message_over_the_peers_size_is_not_tried() -> None:
    # RFC 1870 §6.2
    assert said(size=1000).refused == {}
    made = said(size=1001)
    assert made.rcpt == {}
    assert made.refused[TO].startswith("552 5.3.4 ")


def test_what_needs_smtputf8_is_never_downgraded() -> None:
    # RFC 6531 §3.2
    assert said("hélène@a.mssante.fr", smtputf8=True).rcpt == {
        "hélène@a.mssante.fr": "RCPT TO:<hélène@a.mssante.fr>\r\n".encode()
    }
    for made in (
        said("hélène@a.mssante.fr", PeerExtensions(), smtputf8=True),
        said("hélène@a.mssante.fr"),
        said(sender="hélène@b.mssante.fr"),
    ):
        assert made.rcpt == {}
        ((_, why),) = made.refused.items()
        assert why.startswith("553 5.6.7 ")


def test_an_original_recipient_in_utf_8_goes_in_ascii_where_it_must() -> None:
    # RFC 6533 §3
    one = EnvelopeRecipient(TO, orcpt="utf-8;hélène@a.mssante.fr")
    assert "ORCPT=utf-8;hélène@" in said(one, smtputf8=True).rcpt[TO].decode()
    assert rb"ORCPT=utf-8;h\x{E9}l\x{E8}ne@a.mssante.fr" in said(one).rcpt[TO]


@pytest.mark.parametrize(
    "bad",
    [
        "", "postmaster", "x@a.mssante.fr>\r\nDATA", "x@a.fr> NOTIFY=NEVER <y@a.fr", "x y@a.fr",
        "x@a.fr\r\n", "x@a.fr\0", "x@[127.0.0.1]", "@b.fr:x@a.fr", "x@a.fr,y@a.fr",
        "a" * 65 + "@a.fr",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_address_is_never_said(bad: str) -> None:
    assert said(bad).rcpt == {}
    assert said(bad).refused[bad].startswith("553 5.1.3 ")
    if bad:
        assert said(sender=bad).refused[TO].startswith("553 5.1.7 ")


def test_one_bad_recipient_does_not_hold_up_the_others() -> None:
    both = (EnvelopeRecipient("no"), EnvelopeRecipient(TO))
    made = commands(Envelope("", both, smtputf8=False), 1, ALL)
    assert list(made.rcpt) == [TO]
    assert list(made.refused) == ["no"]


@pytest.mark.parametrize("envid", ["a SIZE=5", "a SMTPUTF8", "a RET=FULL", "a BODY=7BIT", "a "])
def test_a_parameter_within_a_value_of_mail_is_not_said(envid: str) -> None:
    assert said(envid=envid).mail == said().mail
    assert said(ret=f"HDRS {envid[2:]}").mail == said().mail


@pytest.mark.parametrize("notify", ["NEVER ORCPT=rfc822;x", "NEVER NOTIFY=DELAY", "NEVER "])
def test_a_parameter_within_a_value_of_rcpt_is_not_said(notify: str) -> None:
    assert said(EnvelopeRecipient(TO, notify)).rcpt == said().rcpt
    assert said(EnvelopeRecipient(TO, "", f"rfc822;x {notify}")).rcpt == said().rcpt


_TEXT = st.text(st.sampled_from("aF+2Bé;= \r\n\0<>,\\{}") | st.characters(), max_size=20)


@given(_TEXT, _TEXT, _TEXT, _TEXT, st.booleans())
def test_no_parameter_brings_another_along(
    notify: str, orcpt: str, envid: str, ret: str, smtputf8: bool
) -> None:
    one = EnvelopeRecipient(TO, notify, orcpt)
    made = said(one, smtputf8=smtputf8, envid=envid, ret=ret)
    for line in (made.mail, made.rcpt[TO]):
        assert line.endswith(b"\r\n")
        assert line.count(b"\n") == line.count(b"\r") == 1
        assert b"\0" not in line
    words = made.rcpt[TO].decode().split(" ")[2:]
    assert [word.rstrip("\r\n") for word in words if word.startswith("ORCPT=")] in (
        [],
        [f"ORCPT={orcpt if smtputf8 else ascii_form(orcpt)}"],
    )
    assert [word.partition("=")[0] for word in words] in (
        [], ["NOTIFY"], ["ORCPT"], ["NOTIFY", "ORCPT"],
    )  # fmt: skip
    known = {"SIZE", "BODY", "SMTPUTF8\r\n", "SMTPUTF8", "RET", "ENVID"}
    assert {word.partition("=")[0] for word in made.mail.decode().split(" ")[2:]} <= known


@pytest.mark.parametrize(
    ("extensions", "numbers"),
    [
        ({}, (None, None, None)),
        ({"size": "", "limits": ""}, (None, None, None)),
        ({"size": "0", "limits": "MAILMAX=0"}, (None, None, None)),  # RFC 1870 §4: no limit
        ({"size": "100", "limits": "RCPTMAX=9 mailmax=7"}, (100, 7, 9)),
        ({"size": "-1", "limits": "MAILMAX RCPTMAX=-1"}, (None, None, None)),
        ({"size": "1" * 30, "limits": "MAILMAX=x RCPTMAX=0"}, (None, None, None)),
    ],
)
def test_offers_with_numbers(
    extensions: dict[str, str], numbers: tuple[int | None, int | None, int | None]
) -> None:
    found = PeerExtensions.of(extensions)
    assert (found.size, found.mail_max, found.rcpt_max) == numbers
    assert found.knows_size == bool(extensions)
