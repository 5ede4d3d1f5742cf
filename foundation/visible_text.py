r"""Foreign text made visible: characters that act on a terminal or on the order of letters.

Pure. Escape sequences, C0 and C1 controls, bidirectional controls (U+202A to U+202E, U+2066 to
U+2069), Unicode line ends and other invisible characters are written as `\x1b`, `\u202e`. In a log
or a listing they would forge lines, hide text or reach the reader's terminal.
"""

import json
from unicodedata import category

from foundation.privacy import mask


def visible(text: str, keep: str = "") -> str:
    """Return the text with such characters written out, except those of `keep`."""
    return text if text.isprintable() else _escaped(text, keep)


def safe(text: str) -> str:
    """Return visible lines without patients' identifiers, for logs, errors and listings."""
    return visible(mask(text), keep="\n\t")


def visible_json(text: str) -> str:
    """Return JSON with such characters as JSON escapes; its line ends stay."""
    if text.isprintable():
        return text
    return "".join(one if _harmless(one) or one == "\n" else json.dumps(one)[1:-1] for one in text)


def _escaped(text: str, keep: str) -> str:
    return "".join(
        one if _harmless(one) or one in keep else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def _harmless(one: str) -> bool:
    # Blanks of any width, such as those of French before a colon, do no harm.
    return one.isprintable() or category(one) == "Zs"
