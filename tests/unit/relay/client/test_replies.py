"""Replies of peers: the same result however TCP cuts them, and always within limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.client.replies import (
    MAX_LINE,
    MAX_LINES,
    MAX_TEXT,
    MalformedReply,
    PeerReply,
    ReplyReader,
)
from tests.support.storage.cutting import cut, sizes

STREAM = (
    b"250 2.1.0 ok\r\n550-5.1.1 nobody\r\n550 5.1.1 here\r\n354\r\n250-\r\n250 \r\n421 4.3.2 bye\n"
)
REPLIES = [
    PeerReply(250, "2.1.0 ok"),
    PeerReply(550, "5.1.1 nobody 5.1.1 here"),
    PeerReply(354),
    PeerReply(250),
    PeerReply(421, "4.3.2 bye"),
]


def read(*pieces: bytes) -> list[PeerReply]:
    reader = ReplyReader()
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.take()) is not None:
            found.append(reply)
    assert reader.empty
    return found


@given(sizes(30))
def test_pipelined_replies_come_in_order(pieces: list[int]) -> None:
    # RFC 2920 §3.1: replies may be cut anywhere.
    assert read(*cut(STREAM, pieces)) == REPLIES


@pytest.mark.parametrize(
    "line",
    [
        b"hello", b"25", b"250hello", b" 55 x", b"+55 x", b"-1 x", b"2_5 x", b"2500 x",
        b"199 x", b"600 x", b"099 x", "٢٥٠ x".encode(), b"\xff\xfe\0", b"25\r0 x",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_reply_is_garbage(line: bytes) -> None:
    with pytest.raises(MalformedReply, match="not a reply"):
        read(line + b"\r\n")


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250-ok\r\n220 done\r\n", PeerReply(220, "ok done")),
        (b"550-no\r\n554 never\r\n", PeerReply(554, "no never")),
        (b"450-no\r\n421 bye\r\n", PeerReply(421, "no bye")),
        (b"250\tok\r\n", PeerReply(250, "ok")),
        (b"\r\n\n250 ok\r\n", PeerReply(250, "ok")),
        (b"250-a\r\n\r\n250 b\r\n\r\n", PeerReply(250, "a b")),
    ],
    ids=repr,
)
def test_a_reply_of_a_clear_class_is_taken(octets: bytes, reply: PeerReply) -> None:
    # RFC 5321 §4.2.1: the first digit decides.
    assert read(octets) == [reply]


@pytest.mark.parametrize(
    ("octets", "codes"),
    [(b"250-a\r\n550 b\r\n", "250 and 550"), (b"450-a\r\n550 b\r\n", "450 and 550")],
)
def test_a_reply_has_one_class(octets: bytes, codes: str) -> None:
    with pytest.raises(MalformedReply, match=f"two classes, {codes}"):
        read(octets)


def test_blank_lines_have_an_end() -> None:
    read(b"\r\n" * (MAX_LINES - 1) + b"250 x\r\n")
    with pytest.raises(MalformedReply, match="blank lines"):
        read(b"\r\n" * MAX_LINES)


def test_a_line_has_an_end() -> None:
    read(b"250 " + b"x" * (MAX_LINE - 5) + b"\r\n")
    with pytest.raises(MalformedReply, match="line over"):
        read(b"250 " + b"x" * MAX_LINE)
    with pytest.raises(MalformedReply, match="line over"):
        read(b"250 " + b"x" * MAX_LINE + b"\r\n")


def test_a_reply_has_an_end() -> None:
    read(b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n")
    with pytest.raises(MalformedReply, match="lines"):
        read(b"250-x\r\n" * MAX_LINES)


def test_a_half_reply_is_none_yet() -> None:
    assert ReplyReader().empty
    reader = ReplyReader()
    reader.feed(b"250-a\r\n")
    assert reader.take() is None
    assert not reader.empty
    reader.feed(b"250 b")
    assert reader.take() is None
    assert reader.pending == 5


def test_text_is_fit_for_a_terminal() -> None:
    (reply,) = read(b"550 \x1b[31mred\x07 \xff \t caf\xc3\xa9\r\n")
    assert str(reply) == "550 ?[31mred? � café"
    (reply,) = read(b"250-" + b"x" * 400 + b"\r\n250 " + b"y" * 400 + b"\r\n")
    assert len(str(reply)) == MAX_TEXT


@given(st.binary(max_size=200))
def test_anything_is_read_or_garbage(data: bytes) -> None:
    try:
        for reply in read(data + b"\r\n250 x\r\n"):
            assert 200 <= reply.code <= 599
    except MalformedReply:
        pass
