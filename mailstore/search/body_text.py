"""Search in the texts of one message: its decoded header and text parts. Pure.

`mailstore.search.first_look` comes before: most messages are out then. A text part is decoded from
base64 or quoted-printable and from its charset; of HTML, tags are left out. Attachments that are no
text are not searched (RFC 9051 §6.4.4 allows that).
"""

import binascii
import html
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Final

from mailstore.summaries.model import Part, Summary
from mailstore.summary_store.folded import folded

_TAG: Final = re.compile(r"<[^>]*>")
_SOFT: Final = re.compile(rb"=[ \t]*\r?\n")
_FIELD: Final = re.compile(r"^([^\s:]+)[ \t]*:[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


def body_holds(octets: bytes, summary: Summary, text: str) -> bool:
    """True if a text part of a message holds a folded text."""
    if summary.structure is None:
        return False
    return any(text in folded(part) for part in _texts(octets, summary.structure))


def header_holds(octets: bytes, summary: Summary, text: str) -> bool:
    """True if the header of a message holds a folded text, decoded."""
    return text in folded(decoded_header(octets, summary))


def field_holds(octets: bytes, summary: Summary, name: str, text: str) -> bool:
    """True if a header field of this name holds a folded text; any value if it is empty."""
    wanted = name.lower()
    return any(
        found[1].lower() == wanted and text in folded(found[2])
        for found in _FIELD.finditer(decoded_header(octets, summary))
    )


def decoded_header(octets: bytes, summary: Summary) -> str:
    """The header section with its encoded words decoded (RFC 2047), lines ended by LF."""
    end = summary.structure.body if summary.structure is not None else 0
    raw = octets[:end].decode("utf-8", "replace").replace("\r\n", "\n")
    return raw if "=?" not in raw else "\n".join(map(_decoded, raw.split("\n")))


def _decoded(line: str) -> str:
    if "=?" not in line:
        return line
    try:
        return "".join(
            _charset_decoded(part, charset or "ascii") if isinstance(part, bytes) else part
            for part, charset in decode_header(line)
        )
    except (HeaderParseError, ValueError):
        return line


def _texts(octets: bytes, part: Part) -> Iterator[str]:
    if part.type == "text":
        charset = dict(part.params).get("charset", "utf-8")
        text = _charset_decoded(_content(octets[part.body : part.end], part.encoding), charset)
        yield html.unescape(_TAG.sub(" ", text)) if part.subtype == "html" else text
    for child in part.children:
        if child.envelope is not None and child is not part:
            yield child.envelope.subject
        yield from _texts(octets, child)


def _content(octets: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        try:
            return binascii.a2b_base64(octets)
        except binascii.Error:
            return binascii.a2b_base64(octets[: len(octets) // 4 * 4] + b"==")
    if encoding == "quoted-printable":
        return binascii.a2b_qp(_SOFT.sub(b"=\n", octets))
    return octets


def _charset_decoded(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace")
    except (LookupError, ValueError, UnicodeError):
        return octets.decode("latin-1")
