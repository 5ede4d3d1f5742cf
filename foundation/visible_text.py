r"""Foreign text made safe to look at: whatever acts on a terminal or on the order of letters shows.

Pure.  Escape sequences, C0 and C1 controls, bidirectional controls (U+202A to U+202E, U+2066 to
U+2069), Unicode's line ends and other invisible characters appear as `\x1b`, `\u202e`: in a log or
a listing they would forge lines, hide text or reach the terminal of whoever reads it.
"""

import json
from unicodedata import category

from foundation.privacy import mask


def visible(text: str, keep: str = "") -> str:
    """The text with such characters written out, but for those of `keep`."""
    return text if text.isprintable() else _escaped(text, keep)


def safe(text: str) -> str:
    """The same of lines without patients' identifiers, for logs, errors and listings."""
    return visible(mask(text), keep="\n\t")


def visible_json(text: str) -> str:
    """JSON with such characters as JSON's own escapes; its line ends stay."""
    if text.isprintable():
        return text
    return "".join(one if _harmless(one) or one == "\n" else json.dumps(one)[1:-1] for one in text)


def _escaped(text: str, keep: str) -> str:
    return "".join(
        one if _harmless(one) or one in keep else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def _harmless(one: str) -> bool:
    # Blanks of any width, which French puts before its colons, do no harm.
    return one.isprintable() or category(one) == "Zs"
