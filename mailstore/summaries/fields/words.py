"""Text of header fields: encoded words (RFC 2047) and raw UTF-8 (RFC 6532), decoded tolerantly.

Pure.
"""

import binascii
import re
from typing import Final

from mailstore.summaries.fields.charsets import decode
from mailstore.summaries.limits import MAX_WORDS, TooMuch

# A word may hold blanks, against the rule: writers of long names do that.  RFC 2231 §5: a language.
_WORD: Final = re.compile(r"=\?([^?*\s]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?([^?]*)\?=")


def decode_text(text: str) -> str:
    """Return the text with its encoded words decoded; wrong ones stay as written.

    Blanks between two words go.  Octets of neighbours in one charset are joined first, since some
    writers cut words within a character.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    octets, charset, done = b"", "", 0
    for number, found in enumerate(_WORD.finditer(text)):
        if number > MAX_WORDS:
            raise TooMuch
        between = text[done : found.start()]
        name = found[1].lower()
        if (done == 0 or between.strip()) or name != charset:
            out.append(decode(octets, charset))
            octets, charset = b"", name
            if done == 0 or between.strip():
                out.append(between)
        octets += _octets(found[2], found[3])
        done = found.end()
    return "".join((*out, decode(octets, charset), text[done:]))


def _octets(kind: str, word: str) -> bytes:
    written = word.encode()
    if kind in "qQ":
        return binascii.a2b_qp(written, header=True)
    return unbase64(written)


def unbase64(written: bytes) -> bytes:
    """Octets of base64, as far as they are whole; foreign characters are skipped."""
    plain = _NOT_BASE64.sub(b"", written)
    whole = plain[: len(plain) // 4 * 4]
    rest = plain[len(whole) :]
    if len(rest) > 1:
        whole += rest + b"=" * (4 - len(rest))
    return binascii.a2b_base64(whole)


_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]+")
