"""A header section as fields (RFC 5322 §2.2): unfolded, in their order, tolerant.

Pure.
"""

import re
from typing import Final

from mailstore.summaries.fields.charsets import decode
from mailstore.summaries.fields.words import decode_text
from mailstore.summaries.limits import MAX_FIELDS, TooMuch

_NAME: Final = re.compile(rb"[!-9;-~]+")


class Fields:
    """The fields of a section: `first` and `all` give values by a name in lower case.

    Values are unfolded, as written, stripped; octets that are no UTF-8 are read as Windows-1252.
    Lines without a valid name are passed over.
    """

    __slots__ = ("_values", "names")

    def __init__(self, section: bytes) -> None:
        """Split the section; raises `TooMuch` beyond `MAX_FIELDS`."""
        if section.count(b"\n") > 20 * MAX_FIELDS:
            raise TooMuch
        unfolded = section.replace(b"\r\n", b"\n").replace(b"\n ", b" ").replace(b"\n\t", b"\t")
        lines = unfolded.split(b"\n")
        if len(lines) > MAX_FIELDS:
            raise TooMuch
        self.names: list[str] = []
        self._values: dict[str, list[bytes]] = {}
        for line in lines:
            written, colon, value = line.partition(b":")
            found = written.rstrip(b" \t")
            if colon and _NAME.fullmatch(found):
                name = found.decode("ascii").lower()
                self.names.append(name)
                self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def first(self, name: str) -> str:
        """Return the first value of a name, empty without one."""
        values = self._values.get(name)
        return _text(values[0]) if values else ""

    def all(self, name: str) -> list[str]:
        """Return every value of a name."""
        return [_text(value) for value in self._values.get(name, ())]

    def joined(self, name: str) -> str:
        """Return the values of a list that was written as several fields, against the rule."""
        values = self._values.get(name)
        if not values:
            return ""
        return _text(values[0]) if len(values) == 1 else ", ".join(map(_text, values))

    def decoded(self, name: str) -> str:
        """Return the first value of a name with its encoded words decoded."""
        return decode_text(self.first(name))


def _text(value: bytes) -> str:
    # NUL and bare CR are no part of any text, and PostgreSQL and JSON readers stumble over them.
    return decode(value.strip()).replace("\0", "").replace("\r", "")
