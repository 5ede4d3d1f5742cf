"""Refusals on the wire: ASCII, one line, never too long, always with the session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.reply import Acknowledged, Reply, ascii_text, refusal_line, reply_lines

SESSION = "0199f0d2c3e47000a1b2c3d4e5f60718"
REPLY = Reply(554, "5.7.1", "Certificate name is not on the national white list")


def test_it_names_rule_what_was_presented_and_session() -> None:
    line = refusal_line(REPLY, SESSION, "listed", "CN=smtp.b.mssante.fr,ST=Hérault (34),C=FR")
    assert line == (
        b"554 5.7.1 Certificate name is not on the national white list "
        b"(rule listed; presented CN=smtp.b.mssante.fr,ST=H\\C3\\A9rault (34),C=FR) "
        b"[session 0199f0d2c3e47000a1b2c3d4e5f60718]\r\n"
    )


def test_without_a_rule_or_anything_presented() -> None:
    assert refusal_line(Reply(421, "4.4.2", "Idle"), SESSION) == (
        b"421 4.4.2 Idle [session 0199f0d2c3e47000a1b2c3d4e5f60718]\r\n"
    )
    assert b"(rule list) [session" in refusal_line(REPLY, SESSION, "list")


@given(st.text(max_size=2000), st.text(max_size=1500), st.sampled_from(["", "header-from"]))
def test_whatever_is_said_the_line_stays_a_line(text: str, presented: str, rule: str) -> None:
    # RFC 5321 §4.2, §4.5.3.1.5: printable ASCII, at most 512 octets with CRLF
    line = refusal_line(Reply(550, "5.7.1", text), SESSION, rule, presented)
    assert len(line) <= 512
    assert line.startswith(b"550 5.7.1 ")
    assert line.endswith(f"[session {SESSION}]\r\n".encode())
    assert all(0x20 <= octet <= 0x7E for octet in line[:-2])


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=50))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert ascii_text(text) == text


def test_octets_that_are_no_utf8_are_shown_as_they_came() -> None:
    assert ascii_text(b"a\xff\x1b[0m".decode("utf-8", "surrogateescape")) == "a\\FF\\1B[0m"


@pytest.mark.parametrize(
    ("reply", "octets"),
    [
        (Reply(250, "2.0.0", "OK"), b"250 2.0.0 OK\r\n"),
        (Reply(354, "", "Go on"), b"354 Go on\r\n"),
        (Reply(250, "", "a\nSIZE 1\nDSN"), b"250-a\r\n250-SIZE 1\r\n250 DSN\r\n"),
        (Reply(250, "", "a\nDSN"), b"250-a\r\n250 DSN\r\n"),
        (Acknowledged(250, "2.0.0", "Accepted as 1"), b"250 2.0.0 Accepted as 1\r\n"),
    ],
    ids=str,
)
def test_a_reply_has_all_its_lines(reply: Reply, octets: bytes) -> None:
    # RFC 5321 §4.2.1
    assert reply_lines(reply) == octets
