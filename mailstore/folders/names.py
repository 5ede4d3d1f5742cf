"""Names of folders: the rules for a name among its siblings. Pure."""

import unicodedata
from typing import Final

from mailstore.errors import InvalidName

MAX_NAME: Final = 255  # octets of UTF-8
SEPARATOR: Final = "/"  # between the names of a path, and so in no name


def check_name(name: str, *, at_top: bool) -> str:
    """The name as stored, in NFC (RFC 9051 §5.1). Raises InvalidName; its text has no name."""
    found = unicodedata.normalize("NFC", name)
    if not found.strip():
        raise InvalidName("a folder's name is empty")
    if len(found.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise InvalidName(f"a folder's name has {MAX_NAME} octets at most")
    if SEPARATOR in found or any(unicodedata.category(c) in _NEVER for c in found):
        raise InvalidName(f"a folder's name has no {SEPARATOR} and no control characters")
    if at_top and found.upper() == "INBOX":
        raise InvalidName("the name INBOX is the inbox's alone (RFC 9051 §5.1)")
    return found


_NEVER: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
