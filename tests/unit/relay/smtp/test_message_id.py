"""Digest of a Message-ID, by which the journal is searched."""

import pytest

from foundation.privacy import suspicious
from relay.smtp.headers import read_header
from relay.smtp.message_id import message_id_digest


@pytest.mark.parametrize(
    "text",
    [b"<1@b.fr>", b"1@b.fr", b"  <1@b.fr>  ", b"<1@b.fr> (a comment)", b"< 1@b.fr >"],
)
def test_the_form_in_which_it_is_written_does_not_matter(text: bytes) -> None:
    assert message_id_digest(text) == message_id_digest(b"<1@b.fr>")


def test_others_differ() -> None:
    digests = {message_id_digest(text) for text in (b"<1@b.fr>", b"<1@B.fr>", b"<2@b.fr>")}
    assert len(digests) == 3


@pytest.mark.parametrize("text", [b"", b" ", b"<>", b"< >"])
def test_nothing_has_no_digest(text: bytes) -> None:
    assert message_id_digest(text) == ""


def test_it_costs_the_journal_no_mask_and_shows_no_patient() -> None:
    # DOMAIN §1.5: a program may have put an INS into its Message-ID.
    digest = message_id_digest(b"<185017512345678@b.fr>")
    assert not suspicious(digest)
    assert "1850" not in digest


def test_the_first_field_of_a_header_counts() -> None:
    section = b"From: a@b.fr\r\nMESSAGE-ID:\r\n <1@b.fr>\r\nMessage-ID: <2@b.fr>\r\n"
    assert read_header(section).message_id == b"<1@b.fr>"
    assert read_header(b"From: a@b.fr\r\n").message_id == b""
