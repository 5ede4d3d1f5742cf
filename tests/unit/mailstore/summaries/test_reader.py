import io
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.form import from_octets, to_octets
from mailstore.summaries.model import ThreadKeys
from mailstore.summaries.reader import read_summary
from tests.support.mime import parts_of, summary_of

MESSAGE = """From: =?utf-8?q?Ren=C3=A9e?= <renee@b.mssante.fr>
To: cabinet@a.mssante.fr
Subject: Re: =?utf-8?q?R=C3=A9sultat?=
Date: Mon, 30 Nov 2026 10:00:00 +0100
Message-ID: <3@b.fr>
In-Reply-To: <2@a.fr>
References: <1@b.fr> <2@a.fr>
List-Id: <liste.b.fr>
Auto-Submitted: no
X-MSS-NIL: DEV1
X-Other: not listed
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Language: fr, en
Content-Location: /a
Content-MD5: Q2hlY2s=
Content-ID: <text@b.fr>
Content-Description: =?utf-8?q?R=C3=A9sum=C3=A9?=

Bonjour
--b
Content-Type: application/pdf; name=other.pdf
Content-Disposition: attachment; filename*=utf-8''r%C3%A9sultat.pdf

AA
--b
Content-Type: image/png; name=logo.png
Content-ID: <logo>
Content-Disposition: inline

AA
--b
Content-Type: message/rfc822

Subject: attached

x
--b--
"""


def test_an_envelope_is_read() -> None:
    envelope = summary_of(MESSAGE).envelope
    assert envelope.subject == "Re: Résultat"
    assert envelope.written_subject == "Re: =?utf-8?q?R=C3=A9sultat?="
    assert [one.spec for one in envelope.authors] == ["renee@b.mssante.fr"]
    assert envelope.sent_at == 1796029200
    assert (envelope.message_id, envelope.in_reply_to) == ("<3@b.fr>", "<2@a.fr>")
    assert (envelope.sender, envelope.reply_to) == ((), ())


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 99 Foo 2026", "1 Jan 99999 00:00 +9999", "\0"]
)
def test_a_date_that_is_none_has_no_time(date: str) -> None:
    assert summary_of(f"Date: {date}\n\n").envelope.sent_at is None


def test_fields_for_lists_are_kept_in_their_order() -> None:
    assert summary_of(MESSAGE).fields == (
        ("list-id", "<liste.b.fr>"),
        ("auto-submitted", "no"),
        ("x-mss-nil", "DEV1"),
    )


def test_facts_of_a_part_are_read() -> None:
    structure = summary_of(MESSAGE).structure
    assert structure is not None
    part = structure.children[0]
    assert part.params == (("charset", "utf-8"),)
    assert (part.language, part.location, part.md5) == (("fr", "en"), "/a", "Q2hlY2s=")
    assert (part.content_id, part.description) == ("<text@b.fr>", "Résumé")
    assert structure.children[1].disposition == "attachment"
    assert structure.children[1].disposition_params == (("filename", "résultat.pdf"),)


def test_attachments_are_parts_beside_the_text_and_its_pictures() -> None:
    found = [(one.name, one.type, one.octets) for one in summary_of(MESSAGE).attachments]
    assert found == [("résultat.pdf", "application/pdf", 2), ("", "message/rfc822", 22)]


def test_thread_keys_are_the_ids_and_the_base_subject() -> None:
    assert summary_of(MESSAGE).thread == ThreadKeys("3@b.fr", ("1@b.fr", "2@a.fr"), "Résultat")


def test_thread_keys_pass_over_the_own_id_and_doubles() -> None:
    keys = summary_of("Message-ID: <a@b>\nReferences: <a@b> <c@d>\nIn-Reply-To: <c@d>\n\n").thread
    assert (keys.message_id, keys.references) == ("a@b", ("c@d",))


@given(st.binary(max_size=400), st.binary(max_size=50))
def test_any_octets_have_a_summary(octets: bytes, trace: bytes) -> None:
    check(octets, trace)


_TOKENS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"--",
        b"--b",
        b"--b--",
        b"\r\n\r\n",
        b" ",
        b";",
        b"=?utf-8?q?=C3?=",
        b"\xe9",
        b"x",
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/digest;boundary=--",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/html; charset=utf-7",
        b"<head>",
        b"<",
        b"Content-Disposition: attachment; filename*0*=utf-8''%C3",
        b";filename*1*=%A9",
        b"Subject:",
        b'To: g: a@b, "c',
        b"Date: 1 Jan",
        b"Content-Transfer-Encoding: base64",
        b"Disposition: ;",
        b"Content-Type: message/delivery-status",
        b"Action: failed",
        b"References: <a@b>",
    ]
)


@pytest.mark.fuzz
@given(st.lists(_TOKENS, max_size=60).map(b"".join))
def test_any_words_of_mail_have_a_summary(octets: bytes) -> None:
    check(octets, b"Received: x\r\n")


def check(octets: bytes, trace: bytes) -> None:
    summary = summary_of(octets, trace)
    assert summary.octets == len(trace) + len(octets)
    assert from_octets(to_octets(summary)) == summary
    if summary.structure is None:
        assert summary.unreadable
        return
    for part in parts_of(summary.structure):
        assert 0 <= part.header <= part.body <= part.end <= summary.octets
        for child in part.children:
            assert part.body <= child.header
            assert child.end <= part.end


class Pieces(io.BytesIO):
    """A body that comes in pieces of one size, whatever size is asked for; counts its octets."""

    def __init__(self, octets: bytes, size: int) -> None:
        super().__init__(octets)
        self.size = size
        self.given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0
        piece = super().read(min(self.size, size))
        self.given += len(piece)
        return piece


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_the_cuts_of_a_body_change_nothing(size: int) -> None:
    octets = MESSAGE.replace("\n", "\r\n").encode()
    assert read_summary(Pieces(octets, size), b"X: y\r\n") == summary_of(octets, b"X: y\r\n")


@given(st.lists(_TOKENS, max_size=40).map(b"".join), st.integers(1, 9))
def test_the_cuts_of_any_body_change_nothing(octets: bytes, size: int) -> None:
    assert read_summary(Pieces(octets, size), b"") == summary_of(octets)


def test_errors_of_reading_pass() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(size)

    with pytest.raises(OSError, match="65536"):
        read_summary(Broken(), b"")


# Messages that grow with a number.
HOSTILE: dict[str, Callable[[int], str]] = {
    "colons": lambda n: "To: " + ":" * n,
    "dots before an at": lambda n: f"To: {'a.' * n}@{':' * n}",
    "quotes": lambda n: "To: " + '"' * n,
    "backslashes": lambda n: 'To: "' + "\\" * n,
    "brackets": lambda n: "To: " + "<" * n,
    "comments": lambda n: "To: " + "(" * n,
    "semicolons": lambda n: "Content-Type: a/b" + ";" * n,
    "blanks": lambda n: f"Content-Type: a/b{' ' * n}x; {' ' * n}c",
    "answers": lambda n: "Subject: " + "re: " * n,
    "lists": lambda n: "Subject: " + "[a] " * n,
    "forwards": lambda n: f"Subject: {'[fwd:' * n}{']' * n}",
    "trailers": lambda n: "Subject: x" + " (fwd)" * n,
    "words": lambda n: "Subject: " + "=?" * n,
    "more words": lambda n: "Subject: " + "=?u?q?" * n,
    "ids": lambda n: "References: " + "<a" * n,
    "folds": lambda n: "Subject: " + "\r\n x" * n,
    "tags": lambda n: "Content-Type: text/html\r\n\r\n" + "<" * n,
    "comments of HTML": lambda n: "Content-Type: text/html\r\n\r\n" + "<!--" * n,
    "styles": lambda n: "Content-Type: text/html\r\n\r\n" + "<style>" * n,
    "dashes": lambda n: "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--\r\n" * n,
    "parts": lambda n: "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b\r\n" * (n // 8),
    "lines": lambda n: "\r\n" + "x\r\n" * n,
}


def steps(octets: bytes) -> int:
    """Lines of our code that run for a message."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace if "/mailstore/summaries/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        summary_of(octets)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_no_faster_than_a_hostile_message(name: str) -> None:
    few, many = (steps(HOSTILE[name](number).encode()) for number in (500, 2000))
    assert many <= 4 * few + 400


def test_each_octet_is_read_once() -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nx: y\r\n" * 900
    body = Pieces(octets, 1000)
    assert not read_summary(body, b"").unreadable
    assert body.given == len(octets)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_as_large_as_a_header_may_be_is_read(name: str) -> None:
    """Steps within the regular expressions and `bytes.find` count too: squared, none would end."""
    octets = HOSTILE[name](250_000 // len(HOSTILE[name](100)) * 100).encode()
    assert summary_of(octets).octets == len(octets)
