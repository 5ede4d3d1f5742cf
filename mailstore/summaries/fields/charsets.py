"""Octets of mail as text, whatever charset they claim.

Pure.  Only codecs of real charsets are used: Python also has codecs that are slow on hostile input
(`punycode`), transform octets, or make lone surrogates (`utf-7`, `unicode_escape`).
"""

import codecs
from functools import lru_cache
from typing import Final

# Python's canonical names.
_SAFE: Final = frozenset(
    {"ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"}
    | {"utf-32", "utf-32-le", "utf-32-be", "koi8-r", "koi8-u", "mac-roman", "tis-620"}
    | {f"iso8859-{number}" for number in range(1, 17) if number != 12}
    | {f"cp{number}" for number in (437, 850, 852, 858, 866, 932, 949, *range(1250, 1259))}
    | {"big5", "gb2312", "gbk", "gb18030", "shift_jis", "euc_jp", "iso2022_jp", "euc_kr"}
)
# US-ASCII and Latin-1 in mail are most often Windows-1252, which has their printable characters.
_WIDER: Final = {"ascii": None, "iso8859-1": "cp1252", "gb2312": "gbk", "shift_jis": "cp932"}


def decode(octets: bytes, charset: str = "") -> str:
    """Return the text of octets in a charset; in UTF-8, else Windows-1252, if it is unknown."""
    codec = _codec(charset) if charset else None
    if codec is None:
        try:
            return octets.decode()
        except UnicodeDecodeError:
            return octets.decode("cp1252", "replace")
    return octets.decode(codec, "replace")


@lru_cache(256)
def _codec(charset: str) -> str | None:
    """Return the safe codec of a charset's name, or None: unknown, or not to be trusted."""
    # Such names are ASCII; the registry of codecs would turn others into import names.
    if len(charset) > 40 or not charset.isascii():
        return None
    try:
        name = codecs.lookup(charset.strip().strip("\"'")).name
    except (LookupError, ValueError):
        return None
    return _WIDER.get(name, name) if name in _SAFE else None
