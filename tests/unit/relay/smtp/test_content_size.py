"""The size of a decoded message, however it is built and cut."""

import time
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.content_size import ContentSize
from tests.support.storage.cutting import cut, sizes

WIRE = policy.SMTP


def counted(*pieces: bytes) -> int:
    size = ContentSize()
    for piece in pieces:
        size.feed(piece)
    size.finish()
    return size.octets


def decoded(message: Message) -> int:
    """Octets in all parts, as the standard library decodes them."""
    total = 0
    for part in message.walk():
        payload = part.get_payload(decode=True)
        total += len(payload) if isinstance(payload, bytes) else 0
    return total


def with_attachment(octets: bytes, encoding: str = "base64") -> EmailMessage:
    message = EmailMessage(policy=WIRE)
    message["From"] = "dr@a.mssante.fr"
    message.set_content("Bonjour,\n\nvoir ci-joint.\n")
    message.add_attachment(octets, "application", "zip", cte=encoding, filename="IHE_XDM.ZIP")
    return message


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
@pytest.mark.parametrize("octets", [b"", b"a", b"ab", b"abc", bytes(range(256)) * 4000])
def test_an_attachment_counts_as_it_is(octets: bytes, encoding: str) -> None:
    if encoding == "quoted-printable":
        octets = octets.hex().encode()[:900_000]
    message = with_attachment(octets, encoding)
    wire = message.as_bytes()
    found = counted(wire)
    content = decoded(BytesParser(policy=WIRE).parsebytes(wire))
    overhead = 2000  # header fields and boundaries, which count undecoded
    assert content <= found <= content + overhead
    assert found <= len(wire)


def test_a_message_in_a_message() -> None:
    inner = with_attachment(b"\0" * 90_000)
    outer = EmailMessage(policy=WIRE)
    outer.set_content("ci-joint")
    outer.add_attachment(inner)
    wire = outer.as_bytes()
    assert 90_000 < counted(wire) < 93_000
    assert len(wire) > 120_000


@pytest.mark.parametrize(
    "message",
    [
        b"x\r\n" * 10_000,
        b"Content-Transfer-Encoding: 8bit\r\n\r\n" + b"\xe9" * 1000 + b"\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n" + b"QUJD\r\n" * 1000,  # no boundary
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"preamble\r\n" * 1000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n" + b"epilogue\r\n" * 1000,
        b"Content-Transfer-Encoding: x-unknown\r\n\r\n" + b"QUJD\r\n" * 1000,
        b"",
    ],
)
def test_what_is_not_encoded_counts_as_it_is(message: bytes) -> None:
    assert counted(message) == len(message)


def test_lines_of_base64_of_any_length() -> None:
    head = b"Content-Transfer-Encoding: BASE64\r\n\r\n"
    for width in (1, 2, 3, 5, 77):
        body = b"\r\n".join(b"QUJD"[i % 4 : i % 4 + 1] * width for i in range(4000 // width))
        assert counted(head + body) >= len(head) + (4000 // width * width) * 3 // 4


LINES = [
    *(b"--b\r\n", b"--b--\r\n", b"--c\r\n", b"\r\n", b"QUJD\r\n", b"=41=\r\n", b"x", b"--"),
    *(b"\r", b"\n", b"Content-Type: message/rfc822\r\n"),
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
]


@pytest.mark.fuzz
@given(
    st.lists(
        st.sampled_from(LINES),
        max_size=40,
    ).map(b"".join),
    sizes(),
)
def test_the_cutting_does_not_matter(message: bytes, lengths: list[int]) -> None:
    whole = counted(message)
    assert counted(*cut(message, lengths)) == whole <= len(message)


@pytest.mark.integration
@pytest.mark.parametrize(
    "message",
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" * 3000,
        b"x: y\r\n" * 300_000,
        b"x" * 2_000_000,
    ],
    ids=["nested", "header", "line"],
)
def test_hostile_messages_take_no_time(message: bytes) -> None:
    begun = time.process_time()
    counted(message)
    assert time.process_time() - begun < 10
