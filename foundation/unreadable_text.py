"""Sealed values within columns of text, and the text that stands for one without its key."""

from typing import Final, Self

SEALED: Final = "~sealed:"  # no local part begins so: `:` needs quotes (RFC 5321 §4.1.2)
KEY_MISSING: Final = "(key missing)"


class UnreadableText(str):
    """Shown as `KEY_MISSING`; written back into its column, the value stays as it was."""

    __slots__ = ("token",)

    token: str

    def __new__(cls, token: str) -> Self:
        """Keep the sealed value as `token`."""
        made = super().__new__(cls, KEY_MISSING)
        made.token = token
        return made
