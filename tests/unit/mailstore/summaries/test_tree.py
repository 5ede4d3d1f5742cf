"""Structure: boundaries, nesting, places in the octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.summaries.limits import MAX_DASHES, MAX_DEPTH, MAX_HEADER, MAX_PARTS
from mailstore.summaries.model import Part
from tests.support.mime import parts_of, structure_of, summary_of, with_crlf

Shape = tuple[str, tuple["Shape", ...]]

MIXED = """Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain

one
two
--b
Content-Type: application/zip
Content-Transfer-Encoding: Base64

AAAA
--b--
epilogue
"""


def shape(part: Part) -> Shape:
    return f"{part.type}/{part.subtype}", tuple(map(shape, part.children))


def content(message: str, part: Part) -> str:
    return message.replace("\n", "\r\n")[part.body : part.end].replace("\r\n", "\n")


def test_parts_of_a_multipart_have_their_places() -> None:
    root = structure_of(MIXED)
    assert shape(root) == ("multipart/mixed", (("text/plain", ()), ("application/zip", ())))
    text, archive = root.children
    assert content(MIXED, text) == "one\ntwo"
    assert text.lines == 1
    assert content(MIXED, archive) == "AAAA"
    assert archive.encoding == "base64"
    octets = MIXED.replace("\n", "\r\n")
    assert octets[text.header : text.body] == "Content-Type: text/plain\r\n\r\n"
    assert root.end == len(octets)


def test_places_count_from_the_trace_fields() -> None:
    trace = b"Return-Path: <a@b.fr>\r\n"
    alone, traced = (summary_of(MIXED, one).structure for one in (b"", trace))
    assert alone is not None
    assert traced is not None
    for one, other in zip(parts_of(alone), parts_of(traced), strict=True):
        assert other.end == one.end + len(trace)
        assert other.body == one.body + len(trace)


def test_a_boundary_that_begins_another_is_another() -> None:
    message = """Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=ab

--ab

inner
--ab--
--a

outer
--a--
"""
    root = structure_of(message)
    assert shape(root)[1] == (
        ("multipart/alternative", (("text/plain", ()),)),
        ("text/plain", ()),
    )
    assert content(message, root.children[0].children[0]) == "inner"


def test_an_outer_delimiter_ends_inner_parts_without_their_own() -> None:
    message = """Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: message/rfc822

Subject: x

text
--a

last
"""
    root = structure_of(message)
    inner, last = root.children
    assert shape(inner)[1] == (("message/rfc822", (("text/plain", ()),)),)
    assert content(message, inner.children[0].children[0]) == "text"
    assert content(message, last) == "last\n"


def test_a_message_within_a_message_has_its_envelope_and_lines() -> None:
    message = """Content-Type: message/rfc822

Subject: inner
From: a@b.fr

one
two
"""
    root = structure_of(message)
    assert root.envelope is not None
    assert root.envelope.subject == "inner"
    assert root.lines == 5
    assert root.children[0].lines == 2


def test_a_message_behind_an_encoding_is_not_read() -> None:
    root = structure_of(
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==\n"
    )
    assert (root.children, root.envelope) == ((), None)


def test_a_digest_has_messages() -> None:
    root = structure_of(
        "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--\n"
    )
    assert shape(root)[1] == (("message/rfc822", (("text/plain", ()),)),)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Content-Type: nonsense\n",
        "Content-Type: text\n",
        "Content-Type: multipart/mixed\n",
        "Content-Type: multipart/mixed; boundary=never\n",
        "Content-Type: multipart/mixed; boundary=\n",
    ],
)
def test_a_message_of_a_faulty_type_is_text(header: str) -> None:
    root = structure_of(f"{header}Subject: x\n\nbody\n--other\n")
    assert shape(root) == ("text/plain", ())
    assert summary_of(f"{header}Subject: x\n\nbody\n").preview == "body"


def test_a_delimiter_may_have_blanks_behind_it_and_no_line_end() -> None:
    root = structure_of("Content-Type: multipart/mixed; boundary=b\n\n--b  \n\nx\n--b-- \t")
    assert shape(root)[1] == (("text/plain", ()),)


def test_an_empty_part_has_no_octets() -> None:
    message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\n\n\n--b--\n"
    assert [one.octets for one in structure_of(message).children] == [0, 0, 0]


def test_a_header_cut_by_a_delimiter_ends_there() -> None:
    message = (
        "Content-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: text/html\n--b\n\nx\n\ny\n--b--\n"
    )
    first, second = structure_of(message).children
    assert (first.subtype, first.octets) == ("html", 0)
    assert content(message, second) == "x\n\ny"


@pytest.mark.parametrize("message", [b"", b"\r\n", b"\n", b"Subject: x", b"Subject: x\r\n", b"\r"])
def test_a_message_without_a_body_is_read(message: bytes) -> None:
    summary = summary_of(message)
    assert summary.structure is not None
    assert summary.structure.end == summary.octets == len(message)


def test_bare_line_feeds_are_line_ends() -> None:
    message = MIXED.encode()
    text = structure_of(message).children[0]
    assert message[text.body : text.end] == b"one\ntwo"


def nested(depth: int) -> str:
    return "Content-Type: message/rfc822\n\n" * depth + "Subject: x\n\ny\n"


@pytest.mark.parametrize(
    "message",
    [
        nested(MAX_DEPTH + 2),
        "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\n" * (MAX_PARTS + 1),
        f"Subject: {'x' * MAX_HEADER}\n\n",
        "x" * (2 * MAX_HEADER),
        "Content-Type: multipart/mixed; boundary=b\n\n" + "--x\n" * (MAX_DASHES + 1),
        "a:\n" * 3000,
        "To: " + "a@b.fr," * 6000,
        f"Content-Type: a/b{''.join(f';n*{n}=x' for n in range(200))}\n\n",
        "References: " + "".join(f"<{n}@b.fr> " for n in range(2000)),
    ],
    ids=lambda message: message[:30],
)
def test_a_message_beyond_a_limit_is_unreadable_as_a_whole(message: str) -> None:
    octets = with_crlf(message.encode())
    summary = summary_of(octets)
    assert summary.unreadable
    assert summary.octets == len(octets)
    assert summary.structure is None
    assert summary.envelope.subject == ""


def test_a_message_at_the_limit_of_depth_is_read() -> None:
    assert not summary_of(nested(MAX_DEPTH)).unreadable


@given(st.data())
def test_made_structures_are_found_again(data: st.DataObject) -> None:
    expected, octets = data.draw(entities(3))
    assert shape(structure_of(octets)) == expected


@st.composite
def entities(draw: st.DrawFn, depth: int) -> tuple[Shape, bytes]:
    """A shape, and a message or part of that shape; boundaries are prefixes of each other."""
    kind = draw(st.sampled_from(["text", "zip", "mixed", "message"] if depth else ["text", "zip"]))
    if kind == "mixed":
        boundary = "=_b" * (depth + 1)
        children = draw(st.lists(entities(depth - 1), min_size=1, max_size=3))
        body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), octets) for _, octets in children)
        head = f'Content-Type: multipart/mixed;\r\n boundary="{boundary}"\r\n\r\n'.encode()
        end = draw(st.sampled_from([b"--%s--\r\n" % boundary.encode(), b""]))
        return ("multipart/mixed", tuple(one for one, _ in children)), head + body + end
    if kind == "message":
        inner, octets = draw(entities(depth - 1))
        return ("message/rfc822", (inner,)), b"Content-Type: message/rfc822\r\n\r\n" + octets
    lines = draw(st.lists(st.sampled_from([b"", b"--", b"--=_", b"-- =_b", b"x" * 80]), max_size=5))
    type_ = "text/plain" if kind == "text" else "application/zip"
    head = f"Content-Type: {type_}\r\n\r\n".encode()
    return (type_, ()), head + b"\r\n".join(lines)
