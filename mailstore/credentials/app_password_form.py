"""Form of app passwords: `mssa-abcdefghij-abcd-…`, of a public part and a secret of 160 bits. Pure.

Base32 in lower case (letters and 2 to 7), in groups. Hyphens, blanks and case do not count where
one is typed. The fixed beginning lets scanners for leaked secrets recognise it.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Self

from mailstore.credentials.random_secrets import grouped, random_text, ungrouped

PREFIX: Final = "mssa"
SECRET_OCTETS: Final = 20
_LOOKUP_LENGTH: Final = 10
_FORM: Final = re.compile(PREFIX + r"([a-z2-7]{10})([a-z2-7]{32})")
_LONGEST: Final = 200  # characters of a typed text that is looked at


@dataclass(frozen=True, slots=True)
class AppPassword:
    """`lookup` finds the row, `secret` proves it; both in base32."""

    lookup: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Make a random one."""
        return cls(random_text(SECRET_OCTETS)[:_LOOKUP_LENGTH], random_text(SECRET_OCTETS))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a typed one; None for any other text."""
        found = _FORM.fullmatch(ungrouped(text)) if len(text) <= _LONGEST else None
        return None if found is None else cls(found[1], found[2])

    def text(self) -> str:
        """The form that is handed out, once."""
        return f"{PREFIX}-{self.lookup}-{grouped(self.secret)}"
