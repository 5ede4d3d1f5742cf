"""Real messages: beside the standard library's `email`, and beside the places that mail-parser has.

Each difference is listed by its message and explained; an unexplained one, or one that is no more,
fails.
"""

import email
import json
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from functools import cache
from pathlib import Path
from typing import Any

from mailstore.summaries.form import from_octets, to_octets
from mailstore.summaries.model import Address, Part, Summary
from tests.support.mime import CORPUS, corpus, needs_corpus, parts_of, summary_of, with_crlf

pytestmark = needs_corpus

# `email` reads the content of message/external-body, message/partial and message/disposition-
# notification as messages; IMAP has them as parts without an inner one (RFC 9051 §7.5.2).
INNER_OF_OTHER_MESSAGE_TYPES = {
    "mail-parser/rfc/001.eml",
    "mail-parser/thirdparty/009.eml",
    "derived/mdn-ko-902.eml",
    "derived/mdn-processed.eml",
}
# A message in base64, against RFC 2046 §5.2.1: `email` reads the base64 as its text; here it has no
# places that FETCH could give, so it stays closed.
ENCODED_MESSAGE = {"mail-parser/rfc/008.eml"}
# A boundary folded within its quotes: `email` takes the line end for a part of it.
FOLDED_BOUNDARY = {"mail-parser/thirdparty/012.eml"}
# Multiparts without a single delimiter: here text, in `email` a multipart without parts.
NO_DELIMITER = {"mail-parser/thirdparty/015.eml"}
STRUCTURE_DIFFERS = INNER_OF_OTHER_MESSAGE_TYPES | ENCODED_MESSAGE | FOLDED_BOUNDARY | NO_DELIMITER

# Octets of Windows-1252 in a subject, raw or within an encoded word: `email` gives U+FFFD.
RAW_OCTETS = {
    f"mail-parser/legacy/0{number:02}.eml"
    for number in (9, 10, 15, 16, 18, 20, 22, 23, 24, 25, 26, 27, 50, 51, 52)
}


def name_of(path: Path) -> str:
    return "/".join(path.parts[path.parts.index("data") + 1 :]).removeprefix("mime/")


@cache
def read(path: Path) -> tuple[Summary, Message]:
    octets = with_crlf(path.read_bytes())
    return summary_of(octets), email.message_from_bytes(octets)


def structure_of(summary: Summary) -> Part:
    assert summary.structure is not None
    return summary.structure


def our_leaves(part: Part) -> list[str]:
    here = [] if part.type == "multipart" else [f"{part.type}/{part.subtype}"]
    return here + [one for child in part.children for one in our_leaves(child)]


def their_leaves(message: Message) -> list[str]:
    if not message.is_multipart():
        return [message.get_content_type()]
    inner: Any = message.get_payload()
    here = [] if message.get_content_maintype() == "multipart" else [message.get_content_type()]
    return here + [one for child in inner for one in their_leaves(child)]


def test_every_message_is_read_and_comes_back() -> None:
    for path in corpus():
        for octets in (path.read_bytes(), with_crlf(path.read_bytes())):
            summary = summary_of(octets)
            assert not summary.unreadable
            assert summary.octets == len(octets)
            assert from_octets(to_octets(summary)) == summary


def test_leaves_and_their_types_are_those_of_email() -> None:
    differing = {
        name_of(path)
        for path in corpus()
        for summary, message in [read(path)]
        if our_leaves(structure_of(summary)) != their_leaves(message)
    }
    assert differing == STRUCTURE_DIFFERS


def test_subjects_are_those_of_email() -> None:
    differing = {
        name_of(path)
        for path in corpus()
        for summary, message in [read(path)]
        if " ".join(summary.envelope.subject.split()) != their_subject(message)
    }
    assert differing == RAW_OCTETS


def their_subject(message: Message) -> str:
    written = message["subject"] or ""
    return " ".join(str(make_header(decode_header(written))).split())


def test_addresses_are_those_of_email() -> None:
    for path in corpus():
        summary, message = read(path)
        envelope = summary.envelope
        for field, ours in (("from", envelope.authors), ("to", envelope.to), ("cc", envelope.cc)):
            values = [str(value) for value in message.get_all(field, [])]
            assert specs(ours) == [spec for _, spec in getaddresses(values) if spec], path


def specs(addresses: tuple[Address, ...]) -> list[str]:
    return [one.spec for one in addresses if one.spec]


# Its reader opens the message in base64.
OPENED = {"rfc/008.eml"}
# Here a closing line counts at the begin of a line alone (RFC 2046 §5.1.1), there within one.
CLOSED_WITHIN_A_LINE = {"thirdparty/005.eml"}
# Here a delimiter of the outer multipart ends the message within; there a message that announces a
# multipart without delimiters goes on to the end.
OUTER_DELIMITER_PASSED = {"thirdparty/015.eml"}
# The file has an octet more than was expected of its form with LF.
FILE_DIFFERS = {"legacy/049.eml"}
# An example of an RFC that lacks a semicolon between parameters: here one value, there two.
SEMICOLON_LACKS = {"rfc/001.eml"}
# A parameter that comes twice: here the first counts, there the last.
COMES_TWICE = {"thirdparty/010.eml"}
PARAMETERS_DIFFER = SEMICOLON_LACKS | COMES_TWICE
PLACES_DIFFER = OPENED | CLOSED_WITHIN_A_LINE | OUTER_DELIMITER_PASSED | FILE_DIFFERS


def test_places_of_parts_are_those_of_mail_parser() -> None:
    compared = 0
    differing = set()
    for path, octets, expected in golden():
        compared += 1
        if list(their_places(expected)) != list(our_places(structure_of(summary_of(octets)))):
            differing.add(path)
    assert compared >= 100
    assert differing == PLACES_DIFFER


def test_parameters_are_those_of_mail_parser() -> None:
    """But those with raw octets of Windows-1252, which are U+FFFD there."""
    for path, octets, expected in golden():
        if path in PLACES_DIFFER | PARAMETERS_DIFFER:
            continue
        parts = list(parts_of(structure_of(summary_of(octets))))
        for part, theirs in zip(parts, tree(expected, 0), strict=True):
            found = {name: value for name, value in their_params(theirs) if "\ufffd" not in value}
            assert found.items() <= dict(part.params).items(), path
            if any(header["name"] == "content_type" for header in theirs["headers"]):
                assert len(part.params) == len(list(their_params(theirs))), path


def their_params(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for header in part["headers"]:
        if header["name"] == "content_type" and "ContentType" in header["value"]:
            for one in header["value"]["ContentType"]["attributes"] or ():
                yield one["name"].lower(), one["value"]


def golden() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, octets and expectation of each message, with LF and with CRLF."""
    for path in sorted(CORPUS.glob("**/*.eml")):
        octets = path.read_bytes().replace(b"\r\n", b"\n")
        for suffix, form in ((".json", octets), (".crlf.json", with_crlf(octets))):
            expected = path.with_suffix("").with_name(path.stem + suffix)
            if expected.is_file():
                yield (
                    name_of(path).removeprefix("mail-parser/"),
                    form,
                    json.loads(expected.read_text()),
                )


def our_places(root: Part) -> Iterator[tuple[int, int, int]]:
    for part in parts_of(root):
        yield part.header, part.body, part.end


def their_places(expected: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    for part in tree(expected, 0):
        yield part["offset_header"], part["offset_body"], part["offset_end"]


def tree(message: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    part = message["parts"][number]
    yield part
    body = part["body"]
    if "Multipart" in body:
        for child in body["Multipart"]:
            yield from tree(message, child)
    elif "Message" in body:
        yield from tree(body["Message"], 0)
