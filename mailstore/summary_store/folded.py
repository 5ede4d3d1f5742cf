"""Text as a search compares it: compatible forms, case and white space made alike. Pure.

Both the records of a search block and the text that is searched for go through `folded`.
"""

import unicodedata


def folded(text: str) -> str:
    """NFKC and case folding of Unicode, with single spaces; no control characters remain.

    `Échographie` and `ÉCHOGRAPHIE` are alike, and the ligature `ﬁ` is `fi`; accents count.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    alike = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", alike).split())
