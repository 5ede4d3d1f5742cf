r"""Framing of DATA (RFC 5321 §2.3.8, §4.1.1.4, §4.5.2), compared with a naive reading.

The decoder works on chunks with searches; the reference below splits lines and reads one octet
after the other, and shares no code with it.
"""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.smtp.framing import ChunkChecker, DataDecoder, DotStuffer
from relay.smtp.line_checker import Violation
from tests.support.sessions.line_faults import first_violation
from tests.support.storage.cutting import cut, made_of, octet_by_octet, sizes

Result = tuple[bytes, bool, bytes, Violation | None]

WIRE = made_of(
    *(b"\r", b"\n", b"\r\n", b".", b"\0", b"a", b"\r\n.", b"\r\n.\r\n", b".\r\n", b"\n.\n", b"..")
)
LONG = made_of(
    *(b"x" * n for n in (1, 496, 498, 499, 996, 997, 998, 999)),
    *(b"\r\n", b"\r\n", b"\r\n", b"\r\n.", b".", b"\r", b"\n", b"\0"),
    max_size=12,
)

SMUGGLING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\n\n.\n\n",
]


def decode(pieces: Iterable[bytes]) -> Result:
    """The decoder's result for a wire; octets after the end go to the rest."""
    decoder = DataDecoder()
    payload, ended, rest = b"", False, b""
    for piece in pieces:
        if ended:
            rest += piece
            continue
        framed = decoder.feed(piece)
        payload += framed.payload
        ended, rest = framed.ended, framed.rest
    return payload, ended, rest, decoder.violation


def taken(pieces: Iterable[bytes]) -> tuple[bytes, Violation | None]:
    """The result for BDAT content, in chunks or parts of them."""
    checker = ChunkChecker()
    payload = b"".join(map(checker.feed, pieces)) + checker.finish()
    return payload, checker.violation


def reference(wire: bytes) -> Result:
    """The same for a wire with an end, by the letter of RFC 5321."""
    lines = wire.split(b"\r\n")
    end = lines.index(b".", 0, len(lines) - 1)
    message = [line[1:] if line.startswith(b".") else line for line in lines[:end]]
    payload = b"".join(line + b"\r\n" for line in message)
    return payload, True, b"\r\n".join(lines[end + 1 :]), first_violation(message)


@pytest.mark.fuzz
@given(WIRE, sizes())
@example(b"\0a\n", [1])
def test_a_wire_is_decoded_the_same_however_it_is_cut(wire: bytes, lengths: list[int]) -> None:
    whole = decode([wire])
    assert decode(cut(wire, lengths)) == whole
    assert decode(octet_by_octet(wire)) == whole


@pytest.mark.integration
@pytest.mark.fuzz
@given(LONG, sizes(1010))
@example(b"x" * 999 + b"\n", [999])
@example(b"x" * 998 + b"\r\n", [998, 1])
@example(b"x" * 998 + b"\r" + b"\n" * 2, [999])
@example(b"x" * 998 + b"\ra", [999])
def test_long_lines_are_found_the_same_however_they_are_cut(
    wire: bytes, lengths: list[int]
) -> None:
    whole = decode([wire + b"\r\n.\r\n"])
    assert whole == reference(wire + b"\r\n.\r\n")
    assert decode(cut(wire + b"\r\n.\r\n", lengths)) == whole
    assert decode(octet_by_octet(wire + b"\r\n.\r\n")) == whole


@pytest.mark.fuzz
@given(WIRE, sizes())
def test_the_decoder_agrees_with_a_naive_reading(wire: bytes, lengths: list[int]) -> None:
    ended = wire + b"\r\n.\r\n"
    assert decode(cut(ended, lengths)) == reference(ended)


@pytest.mark.fuzz
@given(st.binary(max_size=200), sizes())
def test_the_decoder_agrees_with_a_naive_reading_of_any_octets(
    wire: bytes, lengths: list[int]
) -> None:
    ended = wire + b"\r\n.\r\n"
    assert decode(cut(ended, lengths)) == reference(ended)


@pytest.mark.parametrize("before", [b"Subject: x\r\n\r\nhello", b""], ids=["text", "nothing"])
@pytest.mark.parametrize("sequence", SMUGGLING, ids=repr)
@pytest.mark.parametrize("pieces", [lambda wire: [wire], octet_by_octet], ids=["whole", "octets"])
def test_no_smuggling_sequence_ends_a_message(
    sequence: bytes, before: bytes, pieces: Callable[[bytes], Iterable[bytes]]
) -> None:
    # Smuggling: CVE-2023-51764, -51765, -51766
    smuggled = b"MAIL FROM:<smuggled@b.mssante.fr>\r\nDATA\r\n"
    payload, ended, rest, violation = decode(pieces(before + sequence + smuggled))
    assert not ended
    assert rest == b""
    assert violation is not None
    payload, ended, rest, still = decode(pieces(before + sequence + smuggled + b".\r\nNOOP\r\n"))
    assert ended
    assert payload.endswith(smuggled)
    assert rest == b"NOOP\r\n"
    assert still is violation


@pytest.mark.parametrize(
    ("wire", "payload", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"a\r\n.\r\n.\r\n", b"a\r\n", b".\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b".a\r\n.\r\n", b"a\r\n", b""),
        (b"a.\r\n.\r\n", b"a.\r\n", b""),
        (b"...a\r\n..\r\n.\r\n", b"..a\r\n.\r\n", b""),
        (b"\r\n\r\n..\r\n.\r\n", b"\r\n\r\n.\r\n", b""),
        ("Père\r\n.\r\n".encode(), "Père\r\n".encode(), b""),
    ],
)
def test_dots_are_undone_and_the_end_is_found(wire: bytes, payload: bytes, rest: bytes) -> None:
    expected = (payload, True, rest, None)
    assert decode([wire]) == expected
    assert decode(octet_by_octet(wire)) == expected


@pytest.mark.parametrize(
    ("fault", "violation"),
    [
        (b"a\nb", Violation.BARE_LF),
        (b"a\rb", Violation.BARE_CR),
        (b"a\0b", Violation.NUL),
        (b"x" * 999, Violation.LONG_LINE),
        (b"a\0b\n\r", Violation.NUL),
        (b"x" * 999 + b"\n", Violation.LONG_LINE),
        (b"x" * 998 + b"\n" + b"x" * 999, Violation.BARE_LF),
        (b"a\r\r\nb\n", Violation.BARE_CR),
    ],
)
def test_the_first_violation_is_the_one_that_is_named(fault: bytes, violation: Violation) -> None:
    wire = b"Subject: x\r\n\r\n" + fault + b"\r\n.\r\n"
    assert decode([wire])[3] is violation
    assert decode(octet_by_octet(wire))[3] is violation


@pytest.mark.parametrize("before", [b"", b"\r\n", b"x" * 998 + b"\r\n"], ids=len)
@pytest.mark.parametrize("after", [b"", b"y" * 998 + b"\r\n"], ids=len)
@pytest.mark.parametrize("first", [b"x", b".."], ids=["text", "stuffed"])
def test_a_line_of_998_octets_passes_and_one_of_999_does_not_wherever_cut(
    before: bytes, after: bytes, first: bytes
) -> None:
    # RFC 5321 §4.5.3.1.6: a dot that was doubled for transparency does not count
    for length, violation in ((998, None), (999, Violation.LONG_LINE)):
        wire = before + first + b"x" * (length - 1) + b"\r\n" + after + b".\r\n"
        for position in range(len(wire)):
            assert decode(cut(wire, [position]))[3] is violation, position


@pytest.mark.integration  # seconds of CPU
def test_a_megabyte_octet_by_octet_is_linear() -> None:
    # A step works on held and new octets only.  At most four are held, however many came before:
    # so a megabyte in single octets costs a constant for each.
    wire = (b"x" * 61 + b".\r\n") * 16 * 1024
    decoder = DataDecoder()
    feed = decoder.feed
    held = largest = 0
    for octet in octet_by_octet(wire):
        held += 1 - len(feed(octet).payload)
        largest = max(largest, held)
    assert largest <= 4
    assert decoder.violation is None
    assert feed(b".\r\n").ended


def test_a_megabyte_without_a_line_end_is_not_held() -> None:
    decoder = DataDecoder()
    handed = sum(len(decoder.feed(b"x").payload) for _ in range(100_000))
    assert handed == 100_000
    assert decoder.violation is Violation.LONG_LINE


@pytest.mark.fuzz
@given(st.one_of(WIRE, LONG, st.binary(max_size=200)), sizes(1010))
@example(b"a\r\nb\r\n", [2])
@example(b"x" * 998 + b"\r\n", [999])
@example(b"x" * 998 + b"\r", [])
@example(b"x" * 999 + b"\r", [999])
@example(b"\r\r\n", [1, 1])
def test_chunks_are_octets_as_they_are_with_the_same_faults_wherever_cut(
    content: bytes, lengths: list[int]
) -> None:
    # RFC 3030 §2: no dots, and only the announced end
    expected = (content, first_violation(content.split(b"\r\n")))
    assert taken([content]) == expected
    assert taken(cut(content, lengths)) == expected
    assert taken(octet_by_octet(content)) == expected


@pytest.mark.parametrize(
    ("pieces", "violation"),
    [
        ([], None),
        ([b"", b""], None),
        ([b"Subject: x\r\n\r\n.\r\n..\r\n"], None),
        ([b"no line end"], None),
        ([b"a\r", b"\nb\r", b"", b"\n"], None),
        ([b"a\r", b"b\n"], Violation.BARE_CR),
        ([b"a\r", b"\r\n"], Violation.BARE_CR),
        ([b"a\r"], Violation.BARE_CR),
        ([b"a\r", b""], Violation.BARE_CR),
        ([b"a", b"\nb"], Violation.BARE_LF),
        ([b"a\r", b"\n\n"], Violation.BARE_LF),
        ([b"a", b"\0"], Violation.NUL),
        ([b"x" * 500, b"x" * 498 + b"\r", b"\n"], None),
        ([b"x" * 500, b"x" * 499], Violation.LONG_LINE),
    ],
)
def test_faults_of_chunks(pieces: list[bytes], violation: Violation | None) -> None:
    assert taken(pieces) == (b"".join(pieces), violation)


def test_only_a_last_cr_is_held_back_and_only_until_the_next_octet() -> None:
    # A step works on one held octet and the new ones: linear, however they are cut.
    checker = ChunkChecker()
    for piece in octet_by_octet(b"x\r\ny\r\n" * 1000):
        payload = checker.feed(piece)
        assert payload == {b"\r": b"", b"\n": b"\r\n"}.get(piece, piece)
    assert checker.finish() == b""
    assert checker.violation is None


TEXT = made_of(b"\r\n", b".", b"..", b"a", b"\r\n.", b"x" * 100)


@pytest.mark.fuzz
@given(TEXT, sizes(), sizes())
@example(b"", [], [])
@example(b".", [1], [1, 1, 1])
@example(b"\r\n.\r\n", [1, 1, 1, 1], [])
@example(b"a\r\n.\r\nb", [2, 1, 1], [3])
def test_what_is_stuffed_decodes_to_itself(text: bytes, out: list[int], back: list[int]) -> None:
    # RFC 5321 §4.5.2, however both sides cut the octets; a missing last line end is added.
    stuffer = DotStuffer()
    wire = b"".join(map(stuffer.feed, cut(text, out))) + stuffer.finish() + b".\r\n"
    ending = b"" if not text or text.endswith(b"\r\n") else b"\r\n"
    payload, ended, rest, violation = decode(cut(wire, back))
    assert (payload, ended, rest, violation) == (text + ending, True, b"", None)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b".", b"..\r\n"),
        (b"a\r\n", b"a\r\n"),
        (b".\r\n.\r\n", b"..\r\n..\r\n"),
        (b"a.b\r\n...\r\n", b"a.b\r\n....\r\n"),
        (b"\r\n", b"\r\n"),
    ],
)
def test_stuffing_by_the_letter(text: bytes, wire: bytes) -> None:
    for pieces in ([text], octet_by_octet(text)):
        stuffer = DotStuffer()
        assert b"".join(map(stuffer.feed, pieces)) + stuffer.finish() == wire
