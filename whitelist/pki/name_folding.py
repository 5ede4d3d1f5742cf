"""Folding of values in certificate names to the form in which they are compared.

Unicode NFC, simple case folding, runs of blanks as a single space (DOMAIN §9.8,
docs/decisions/0042). No character beyond ASCII ever becomes ASCII: neither U+017F (folds to s), nor
U+212A (the kelvin sign, K in NFC), nor a letter that folds to two (ß is not ss). A blank is a space
of Unicode category Zs; control characters and line ends are not blanks, and stay.
"""

import re
import unicodedata

_BLANKS = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
# All characters that NFC turns into an ASCII character: ; ` K.
_TWINS = re.compile("([\u037e\u1fef\u212a])")


def tidy(value: str) -> str:
    """Collapse runs of blanks (no-break spaces too) to a space, trim the ends, apply NFC."""
    return _BLANKS.sub(" ", _composed(value)).strip(" ")


def fold(value: str) -> str:
    """Return the form in which values are compared: tidied, and case folded."""
    tidied = tidy(value)
    if tidied.isascii():
        return tidied.lower()
    return _composed("".join(map(_folded, tidied)))


def _composed(value: str) -> str:
    if value.isascii():
        return value
    if _TWINS.search(value) is None:
        return unicodedata.normalize("NFC", value)
    return "".join(
        piece if _TWINS.fullmatch(piece) else unicodedata.normalize("NFC", piece)
        for piece in _TWINS.split(value)
    )


def _folded(character: str) -> str:
    """Fold a character to one character; only ASCII becomes ASCII (CaseFolding.txt, C and S)."""
    if character.isascii():
        return character.lower()
    for found in (character.casefold(), character.lower()):
        if len(found) == 1 and not found.isascii():
            return found
    return character
