"""The look at messages before they are decoded, at their octets as they are. Pure.

It costs a hundredth of decoding, and most messages are out then. Short messages are looked at
together: a call costs as much as two kilobytes of them.
"""

import binascii
import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final

_RUN: Final = re.compile(r"[a-z0-9]+")
# Forms in which a text is not among the octets as it is: they are decoded before a look.
_OTHER_FORMS: Final = (b"\x00", b"\x1b", b"&#", b"?b?", b"base64")
# Charsets that have ASCII as it is.
_CHARSETS: Final = (b"utf-8", b"utf8", b"us-ascii", b"iso-8859", b"windows-125", b"ascii")
_CHARSET: Final = b"charset"
_ASCII: Final = bytes(range(128))
# Letters of French and German, quotes and spaces of UTF-8: none of them folds into ASCII letters.
_PLAIN: Final = re.compile(
    rb"(?:(?:\xc3[\x80-\x9e\xa0-\xbf])+"
    rb"|\xc5[\x92\x93\xb8]|\xc2[\xa0\xab\xb0\xbb]|\xe2\x80[\x90-\xa4])*"
)
# Octets that messages are looked at together; they stay in the processor's cache.
_TOGETHER: Final = 32 * 1024
# Between messages: a text that begins in a message cannot end in the next, nor a character.
_BETWEEN: Final = "\n\u00a0\n".encode()
_QUOTED: Final = (b"quoted-printable", b"?q?")


def likely_among(messages: Sequence[bytes], texts: Collection[str]) -> list[int]:
    """Places of the messages that may hold one of the texts, which are folded; see `may_hold`."""
    found = []
    for places in _together(messages):
        several = len(places) > 1
        joined = _BETWEEN.join(messages[places.start : places.stop]).lower()
        if several and not any(_some_may_hold(joined, text) for text in texts):
            continue
        for place in places:
            lowered = messages[place].lower() if several else joined
            if any(may_hold(lowered, text) for text in texts):
                found.append(place)
    return found


def _together(messages: Sequence[bytes]) -> Iterator[range]:
    first, octets = 0, 0
    for place, message in enumerate(messages):
        if octets and octets + len(message) > _TOGETHER:
            yield range(first, place)
            first, octets = place, 0
        octets += len(message)
    if first < len(messages):
        yield range(first, len(messages))


def _some_may_hold(joined: bytes, text: str) -> bool:
    """False only if `may_hold` is false for each of the messages."""
    # Quoted-printable of a message would be undone in its neighbours too.
    return any(form in joined for form in _QUOTED) or may_hold(joined, text)


def may_hold(lowered: bytes, text: str) -> bool:
    """False only if a message certainly does not hold a text; `lowered`: its octets, lower case.

    `text` is folded.
    """
    run = longest_run(text)
    if not run or run in lowered:
        return True
    for form in _OTHER_FORMS:
        if form in lowered:
            return True
    if not _plain_charsets(lowered):
        return True
    if any(form in lowered for form in _QUOTED):
        lowered = binascii.a2b_qp(lowered)
        if run in lowered.lower():
            return True
    if lowered.isascii():
        return False
    return _PLAIN.fullmatch(lowered.translate(None, _ASCII)) is None


def _plain_charsets(lowered: bytes) -> bool:
    """True if each charset that is named leaves ASCII as it is."""
    at = lowered.find(_CHARSET)
    while at >= 0:
        name = lowered[at + len(_CHARSET) : at + 32].lstrip(b" \t*0=\"'")
        if not name.startswith(_CHARSETS):
            return False
        at = lowered.find(_CHARSET, at + len(_CHARSET))
    return True


@lru_cache(maxsize=16)
def longest_run(text: str) -> bytes:
    """The longest run of ASCII letters and digits in a folded text."""
    return max(_RUN.findall(text), key=len, default="").encode("ascii")
