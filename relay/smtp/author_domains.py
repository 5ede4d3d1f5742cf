"""The domains in a From or Sender field: domains of the addresses, and domains shown in names.

Mail programs read malformed fields each in its own way (CVE-2023-27043).  So this reader covers
less than the grammar of RFC 5322 §3.4, and is stricter.  Pure, linear in the value, no recursion.
"""

import binascii
import re
import unicodedata
from typing import Final

UNREADABLE: Final = "(unreadable)"  # no domain, so that no list ever covers it

# A quoted pair, a delimiter, or text (RFC 5322 §3.2).
_PART: Final = re.compile(r'\\.|["()]|[^\\"()]+', re.DOTALL)
_AFTER_AT: Final = re.compile(r"@([^\s,;:<>@]*)")
_AFTER_AT_IN_NAME: Final = re.compile(r"@([A-Za-z0-9.-]{1,255})")
_BETWEEN: Final = re.compile("[,;:]")  # between mailboxes of a list, or a group and its members
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")

# RFC 2047 §2, read as leniently as mail programs do; with the language of RFC 2231 §5.
_ENCODED: Final = re.compile(r"=\?([^?*\s]{1,32})(?:\*[^?\s]{0,32})?\?([bBqQ])\?([^?]*)\?=")
_ADJACENT: Final = re.compile(r"(?<=\?=)\s+(?==\?)")  # blanks between encoded words are not shown
# All other charsets are read as Latin-1, where an address is the same: Python would remember every
# name that it is asked for.
_CHARSETS: Final = frozenset(
    {"utf-8", "utf8", "utf-7", "utf-16", "utf-16be", "utf-16le", "us-ascii", "ascii"}
    | {"gb2312", "gbk", "big5", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr", "koi8-r"}
)


def author_domains(value: str) -> tuple[set[str], set[str]]:
    """Domains that a program could take for the author's, and domains that the names show.

    The first set has UNREADABLE if no domain can be told.  Any text after an `@` outside of quoted
    strings and comments counts.  An encoded word beside an address is a name; an encoded word
    without an address is decoded and read, as some programs do.
    """
    outside: list[str] = []
    depth, quoted = 0, False
    for part in _PART.findall(value):
        if quoted:
            quoted = part != '"'
        elif part == "(":
            depth += 1
        elif part == ")":
            depth = max(depth - 1, 0)
            outside.append(" ")
        elif not depth:
            quoted = part == '"'
            outside.append(part)
    plain = "".join(outside)
    encoded = "=?" in value
    if encoded:
        plain = ",".join(one if "@" in one else decoded(one) for one in _BETWEEN.split(plain))
    found = {
        domain.lower() if len(domain) <= 255 and _DOMAIN.fullmatch(domain) else UNREADABLE
        for domain in _AFTER_AT.findall(_without_blanks(plain))
    }
    if not found or depth or quoted:
        found.add(UNREADABLE)
    odd = encoded or UNREADABLE in found or '"' in value or "(" in value
    return found, _shown(value) if odd else set()


def _shown(value: str) -> set[str]:
    """The domains that a person sees: encoded words decoded, look-alike letters unified."""
    text = _plain_letters(decoded(value)).replace("\u3002", ".")
    names = (name.strip(".").lower() for name in _AFTER_AT_IN_NAME.findall(_without_blanks(text)))
    return {name for name in names if _DOMAIN.fullmatch(name)}


def _plain_letters(text: str) -> str:
    """The text in compatibility forms (Unicode NFKC), each character by itself.

    The whole text at once would cost the square of its length: NFKC sorts marks (UAX #15).
    """
    if text.isascii():
        return text
    odd = {one for one in set(text) if not one.isascii()}
    return text.translate({ord(one): unicodedata.normalize("NFKC", one) for one in odd})


def _without_blanks(text: str) -> str:
    """The text without blanks around dots and `@`: obsolete, but still read (RFC 5322 §4.4)."""
    plain = " ".join(text.split())
    for blank in (" .", ". ", " @", "@ "):
        plain = plain.replace(blank, blank.strip())
    return plain


def decoded(text: str) -> str:
    """The text with its encoded words (RFC 2047) decoded; malformed words are read leniently."""
    return _ENCODED.sub(_decode, _ADJACENT.sub("", text))


def _decode(word: re.Match[str]) -> str:
    charset, encoding, text = word[1].lower(), word[2].lower(), word[3].encode("utf-8", "replace")
    if encoding == "q":
        octets = binascii.a2b_qp(text, header=True)
    else:
        try:
            octets = binascii.a2b_base64(text + b"==")
        except binascii.Error:
            return word[0]
    known = charset in _CHARSETS or charset.startswith(("iso-8859-1", "windows-125"))
    try:
        return octets.decode(charset if known else "latin-1", "replace")
    except LookupError:
        return octets.decode("latin-1")
