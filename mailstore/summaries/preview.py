"""The preview: up to 256 characters of a message's text (RFC 8970 §3.1).

Pure and linear.
"""

import binascii
from typing import Final

from mailstore.summaries.fields.charsets import decode
from mailstore.summaries.fields.words import unbase64
from mailstore.summaries.html_text import html_text

MAX_PREVIEW: Final = 256
_ENOUGH: Final = 4096  # octets of plain text that surely fill a preview


def preview(octets: bytes, subtype: str, charset: str, encoding: str) -> str:
    """Return the first characters of a text, blanks collapsed, controls gone."""
    if subtype == "html":
        text = html_text(decode(decoded(octets, encoding), charset), MAX_PREVIEW)
    else:
        text = decode(decoded(octets[:_ENOUGH], encoding), charset)
    shown = "".join(one if one.isprintable() else " " for one in text[: 8 * MAX_PREVIEW])
    return " ".join(shown.split())[:MAX_PREVIEW].rstrip()


def decoded(octets: bytes, encoding: str) -> bytes:
    """Return octets without their transfer encoding (RFC 2045 §6), as far as they are whole."""
    if encoding == "base64":
        return unbase64(octets)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(octets)
    return octets
