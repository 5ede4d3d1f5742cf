"""Postfix as the other operator, both ways: each side verifies the other's certificate.

Its client pipelines, but has no BDAT (BDAT_README of Postfix: only the server has it).
"""

import json
import re
from pathlib import Path

import pytest

from tests.support.machines.daemon import dial, lay_out, served
from tests.support.peers.postfix import missing, postfix
from tests.support.sessions.exchange import (
    CARDIOLOGY,
    DURAND,
    MARTIN,
    NOBODY,
    fields_on_top,
    refusing_session,
)
from tests.support.sessions.letters import UNTOUCHABLE
from tests.support.waiting import until_now

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def test_postfix_takes_our_message_as_it_is(tmp_path: Path) -> None:
    # DOMAIN §9.23, §9.24, §9.27, §9.28
    letter = tmp_path / "letter.eml"
    whole = (
        b"Date: Tue, 24 Nov 2026 12:00:00 +0100\r\nMessage-ID: <1@a.mssante.fr>\r\n" + UNTOUCHABLE
    )
    letter.write_bytes(whole.replace(b"<dr@b.mssante.fr>", b"<claire.martin@a.mssante.fr>"))
    with postfix("b.mssante.fr", shows="b") as peer:
        a = lay_out(tmp_path / "a", "a", {"b.mssante.fr": peer.endpoint}, workers=1)
        with served(a):
            a.run("message", "send", str(letter), "--from", MARTIN, "--to", DURAND)
            until_now(lambda: bool(peer.messages()))
            until_now(lambda: json.loads(a.run("queue", "list", "--json")) == [])
        (message,) = peer.messages()
        assert b"by smtp.a.mssante.fr with local id " in message
        traces = {b"return-path", b"delivered-to", b"x-original-to", b"received"}
        assert fields_on_top(message, letter.read_bytes()) <= traces


def test_a_postfix_with_the_certificate_of_another_operator_gets_nothing(tmp_path: Path) -> None:
    # DOMAIN §9.27: operator C is on the list, but not for this domain.
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: claire.martin@a.mssante.fr\r\nSubject: x\r\n\r\nBonjour\r\n")
    with postfix("b.mssante.fr", shows="c") as peer:
        a = lay_out(tmp_path / "a", "a", {"b.mssante.fr": peer.endpoint}, workers=1)
        with served(a):
            a.run("message", "send", str(letter), "--from", MARTIN, "--to", DURAND)
            until_now(lambda: "it showed CN=smtp.c.mssante.fr" in a.run("queue", "list"))
            (waiting,) = json.loads(a.run("queue", "list", "--json"))
        assert (waiting["state"], waiting["attempts"]) == ("waiting", 1)
        assert waiting["recipients"] == [DURAND]
        assert "not listed for b.mssante.fr" in waiting["last_error"]
        until_now(lambda: "disconnect from" in peer.log())
        assert "from=<" not in peer.log()
        assert peer.messages() == []


def test_postfix_relays_to_us(tmp_path: Path) -> None:
    # DOMAIN §9.14-§9.17; Postfix verifies our certificate and host name by itself.
    a = lay_out(tmp_path / "a", "a", workers=1)
    with served(a), postfix("b.mssante.fr", "b", {"a.mssante.fr": a.endpoint}) as peer:
        with dial(peer.port, *a.identity("b")) as smtp:
            smtp.ehlo()
            smtp.mail(DURAND, ["BODY=8BITMIME"])
            for recipient in (MARTIN, CARDIOLOGY, NOBODY):
                smtp.rcpt(recipient)
            assert smtp.data(UNTOUCHABLE)[0] == 250
        until_now(lambda: peer.log().count(" status=") >= 3)
        log = peer.log()
    (entry,) = a.entries(MARTIN)
    (other,) = a.entries(CARDIOLOGY)
    assert entry.message.id == other.message.id  # one transaction for both
    assert log.count(f"status=sent (250 2.0.0 Accepted as {entry.message.id})") == 2, log
    assert re.search(rf"to=<{NOBODY}>, .* status=bounced \(.* said: 550 5\.1\.1 ", log), log
    # RFC 2920: the whole envelope leaves before the first reply to it.
    said = re.findall(r"smtp\[\d+\]: ([<>]) \S+: (\w+)", log)
    mail = said.index((">", "MAIL"))
    assert said[mail : mail + 5] == [(">", word) for word in ("MAIL", *["RCPT"] * 3, "DATA")], log
    assert fields_on_top(a.body(entry), UNTOUCHABLE) == {b"received"}
    assert entry.message.sender == DURAND
    assert entry.message.peer.startswith("CN=smtp.b.mssante.fr,")


def test_a_postfix_that_is_not_on_the_list_is_turned_away(tmp_path: Path) -> None:
    # DOMAIN §9.16
    a = lay_out(tmp_path / "a", "a", workers=1)
    with served(a), postfix("b.mssante.fr", "intruder", {"a.mssante.fr": a.endpoint}) as peer:
        with dial(peer.port, *a.identity("b")) as smtp:
            smtp.sendmail(DURAND, [MARTIN], b"Subject: x\r\n\r\nBonjour\r\n")
        until_now(lambda: " status=" in peer.log())
        log = peer.log()
        assert "status=bounced (host 127.0.0.1[127.0.0.1] said: 554 5.7.1 " in log
        assert refusing_session(log, a)
    assert a.entries(MARTIN) == []
