"""Values with parameters, such as Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2231).

Pure and linear: each segment of a split parameter is joined once.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from mailstore.summaries.fields.charsets import decode
from mailstore.summaries.fields.words import decode_text
from mailstore.summaries.limits import MAX_PARAMETERS, TooMuch

Parameters = tuple[tuple[str, str], ...]

# Comments come rarely, within a value hardly ever.
_PARAMETER: Final = re.compile(
    r""";[;\s]*([^=;\s"()]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)(?:"|\\?$)|([^;]*))""", re.DOTALL
)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_SPLIT: Final = re.compile(r"([^*]+)(?:\*([0-9]{1,3}))?(\*)?")
_COMMENT: Final = re.compile(r"\s*\([^()]*\)\s*$")


def read_value(text: str) -> tuple[str, Parameters]:
    """Return the value in lower case and its parameters, decoded, in the order of first sight.

    A name that comes twice keeps its first value.  Raises `TooMuch` beyond `MAX_PARAMETERS`.
    """
    value, semicolon, _ = text.partition(";")
    head = _COMMENT.sub("", value).strip().lower()
    if not semicolon:
        return head, ()
    plain: dict[str, str] = {}
    split: dict[str, dict[int, tuple[str, bool]]] = {}
    for count, found in enumerate(_PARAMETER.finditer(text, len(value))):
        if count >= MAX_PARAMETERS:
            raise TooMuch
        written = found[3].strip() if found[2] is None else _PAIR.sub(r"\1", found[2])
        if found[2] is None and written.endswith(")"):
            written = _COMMENT.sub("", written)
        name = found[1].lower()
        segment = _SPLIT.fullmatch(name) if "*" in name else None
        if segment is None:
            plain.setdefault(name, written)
        else:
            plain.setdefault(segment[1], "")  # keeps the order; replaced below
            order = int(segment[2] or 0)
            split.setdefault(segment[1], {}).setdefault(order, (written, bool(segment[3])))
    for name, segments in split.items():
        plain[name] = _joined(segments)
    return head, tuple(
        (name, value if name in split else decode_text(value)) for name, value in plain.items()
    )


def _joined(segments: dict[int, tuple[str, bool]]) -> str:
    """Join the segments of a parameter (RFC 2231 §3, §4); a gap ends it."""
    charset, octets = "", []
    for order in range(len(segments)):
        if order not in segments:
            break
        written, encoded = segments[order]
        if encoded and order == 0 and written.count("'") > 1:
            charset, _, written = written.split("'", 2)
        octets.append(unquote_to_bytes(written) if encoded else written.encode())
    return decode(b"".join(octets), charset).replace("\0", "")
