"""Text form of distinguished names: RFC 4514, with the deviations of the white list.

Accepted beyond RFC 4514, as its predecessors allowed and the list really contains (DOMAIN §2.3): a
value wholly in quotation marks (RFC 1779, RFC 2253 §4), spaces around separators, and unescaped
quotation marks inside a value. Other violations of the grammar are refused, not guessed. Attribute
types and equality of names are not known here.
"""

import re
import unicodedata

from whitelist.errors import InvalidName

# ASCII only, else U+017F would pass for the S of ST; the list has no-break spaces.
_TYPE = re.compile(
    r"[ \xa0]*(?:OID\.)?([A-Z][A-Z0-9-]*|[0-9]+(?:\.[0-9]+)+)[ \xa0]*=[ \xa0]*",
    re.IGNORECASE | re.ASCII,
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"[ \xa0]*', re.DOTALL)
_PLAIN = re.compile(r"((?:[^,+;<>\\\x00]|\\.)*)", re.DOTALL)
_ESCAPES = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)
_ESCAPABLE = ' "#+,;<=>\\'
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})
_MUST_ESCAPE = '"+,;<>\\'

MAX_TEXT = 16 * 1024
"""Longest text of a name that is read, in characters; the longest real name has 140."""

Rdns = tuple[tuple[tuple[str, str], ...], ...]
"""Relative distinguished names in the order of the text; each holds (type, value) pairs."""


def split(text: str) -> Rdns:
    """Split `text` into relative distinguished names, escapes and quotation marks decoded.

    `CN=a.fr,O="X  Y"` gives `((("CN", "a.fr"),), (("O", "X  Y"),))`; `+` joins the pairs of a
    multi-valued name (RFC 4514 §2.2). Values keep their spaces, types their spelling. Raises
    InvalidName, naming the place, for all other input: unknown escapes, an unescaped `;`, `<` or
    `>`, text after a closing quotation mark, values in `#hexadecimal` form, more than MAX_TEXT
    characters.
    """
    if len(text) > MAX_TEXT:
        raise _invalid(text, MAX_TEXT, f"longer than {MAX_TEXT} characters")
    rdns: list[tuple[tuple[str, str], ...]] = []
    pairs: list[tuple[str, str]] = []
    position = 0
    while True:
        found = _TYPE.match(text, position)
        if found is None:
            raise _invalid(
                text, position, r"expected TYPE=VALUE (write , and + in a value as \, \+)"
            )
        value, position = _value(text, found.end())
        pairs.append((found[1], value))
        if position == len(text):
            rdns.append(tuple(pairs))
            return tuple(rdns)
        if text[position] not in ",+":
            raise _invalid(
                text, position, r"expected , or + or the end (special characters are escaped: \;)"
            )
        if text[position] == ",":
            rdns.append(tuple(pairs))
            pairs = []
        position += 1


def _value(text: str, start: int) -> tuple[str, int]:
    """Parse a value from `start`; return it with the position after it."""
    if text.startswith("#", start):
        raise _invalid(text, start, "a value in #hexadecimal form cannot be compared")
    found = (_QUOTED if text.startswith('"', start) else _PLAIN).match(text, start)
    if found is None:
        raise _invalid(text, start, "the quotation mark is never closed")
    return _unescape(text, found.start(1), found[1]), found.end()


def _unescape(text: str, start: int, raw: str) -> str:
    def replace(found: re.Match[str]) -> str:
        octets, character = found.groups()
        if octets is None:
            if character not in _ESCAPABLE:
                raise _invalid(text, start + found.start(), f"unknown escape \\{character}")
            return str(character)
        try:
            return bytes.fromhex(octets.replace("\\", "")).decode("utf-8")
        except UnicodeDecodeError:
            raise _invalid(text, start + found.start(), f"{octets} is not UTF-8") from None

    return _ESCAPES.sub(replace, raw)


def escape(value: str) -> str:
    """Format a value, without outer spaces, as in RFC 4514 §2.4.

    Control characters, line ends and direction marks become octets too, so that a name can neither
    break nor reorder a line of a log.
    """
    written = "".join(map(_escaped, value))
    return f"\\{written}" if written.startswith("#") else written


def _escaped(character: str) -> str:
    if character in _MUST_ESCAPE:
        return f"\\{character}"
    if unicodedata.category(character) in _UNSEEN:
        return "".join(f"\\{octet:02X}" for octet in character.encode())
    return character


def _invalid(text: str, position: int, problem: str) -> InvalidName:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return InvalidName(
        f"not a distinguished name: {problem}, at character {position + 1} of {shown!r}"
    )
