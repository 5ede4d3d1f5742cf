"""The look at many messages together finds the messages that a look at each finds, or fewer."""

import io

from hypothesis import given
from hypothesis import strategies as st

from mailstore.search.body_text import body_holds, header_holds
from mailstore.search.first_look import likely_among, may_hold
from mailstore.summaries.reader import read_summary
from mailstore.summary_store.folded import folded
from tests.unit.mailstore.search.test_body_text import message

_messages = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            message,
            st.text("aféKſﬁ１2 é=\r\nœ’", max_size=40),
            st.sampled_from(("utf-8", "windows-1252", "utf-16")),
            st.sampled_from(("8bit", "base64", "quoted-printable")),
        ),
        st.builds(message, st.text("afé 2=", max_size=40), st.just("utf-8"), st.just("8bit")),
        # Characters and escapes cut at the end of a message.
        st.sampled_from((b"a\xc3", b"\xa9a", b"\xe2\x84", b"\xaa", b"f=", b"=4", b"charset=", b"")),
    ),
    max_size=8,
)


@given(_messages, st.text("afékſﬁ12œ", min_size=1, max_size=4).map(folded))
def test_messages_looked_at_together_hide_none_that_holds_the_text(
    messages: list[bytes], text: str
) -> None:
    found = set(likely_among(messages, [text]))
    for place, octets in enumerate(messages):
        summary = read_summary(io.BytesIO(octets), b"")
        if body_holds(octets, summary, text) or header_holds(octets, summary, text):
            assert place in found


@given(_messages, st.text("afé12", min_size=1, max_size=4).map(folded))
def test_a_message_is_likely_together_just_when_it_is_alone(
    messages: list[bytes], text: str
) -> None:
    alone = [place for place, one in enumerate(messages) if may_hold(one.lower(), text)]
    assert likely_among(messages, [text]) == alone


def test_each_of_several_texts_counts() -> None:
    messages = [message(text, "utf-8", "8bit") for text in ("foie", "rate", "rein")]
    messages += [b"x" * 40_000, b"rein" * 20_000]
    assert likely_among(messages, ["foie", "rein"]) == [0, 2, 4]
    assert likely_among(messages, []) == []


def test_a_text_across_two_messages_is_in_neither() -> None:
    assert likely_among([b"fo", b"ie"], ["foie"]) == []
