"""Lists of addresses (RFC 5322 §3.4, with §4.4's obsolete forms), read tolerantly in linear time.

Pure.  A list that breaks the rules still gives the addresses that a person would see in it.
"""

import re
from typing import Final

from mailstore.summaries.fields.words import decode_text
from mailstore.summaries.limits import MAX_ADDRESSES, TooMuch
from mailstore.summaries.model import Address, Addresses

# Alternatives begin with different characters, so none is tried twice; a quote or a bracket that is
# not closed reaches to the end.
_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\r\n]+)
    |(?P<quoted>"(?:[^"\\]|\\.)*(?:"|\\?$))
    |(?P<angle><(?:[^<>"\\]|\\.|"(?:[^"\\]|\\.)*(?:"|\\?$))*(?:>|\\?))
    |(?P<special>[(),:;@.])
    |(?P<atom>[^ \t\r\n"<(),:;@.]+)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT: Final = re.compile(r"[()]|\\.|[^()\\]+|\\", re.DOTALL)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


def read_addresses(value: str) -> Addresses:
    """Return the addresses of a field's value; raises `TooMuch` beyond `MAX_ADDRESSES`."""
    if not value:
        return ()
    return _Reader().read(value)


class _Reader:
    """State between two commas: the words so far, an address in brackets, a comment."""

    def __init__(self) -> None:
        self._found: list[Address] = []
        self._in_group = False
        self._begin()

    def _begin(self) -> None:
        self._words: list[str] = []  # as written, with blanks
        self._plain: list[str] = []  # without blanks
        self._angle: str | None = None
        self._comment = ""

    def read(self, value: str) -> Addresses:
        position, end = 0, len(value)
        while position < end:
            token = _TOKEN.match(value, position)
            if token is None:  # a control character that no class has
                position += 1
                continue
            position = token.end()
            if token.lastgroup == "special":
                position = self._special(value, token[0], position)
            else:
                self._word(token.lastgroup, token[0])
        self._flush()
        if self._in_group:
            self._found.append(_END)
        return tuple(self._found)

    def _word(self, kind: str | None, text: str) -> None:
        if kind == "angle":
            self._angle = text if self._angle is None else self._angle
            return
        self._words.append(" " if kind == "blank" else text)
        if kind != "blank":
            self._plain.append(text)

    def _special(self, value: str, mark: str, position: int) -> int:
        if mark == "(":
            position, self._comment = _comment(value, position)
            self._words.append(" ")
        elif mark == ":" and not self._in_group and self._angle is None and "@" not in self._plain:
            name = _unquoted("".join(self._words))
            self._begin()
            self._found.append(Address("", name, None))
            self._in_group = True
        elif mark in ",;":
            self._flush()
            if mark == ";" and self._in_group:
                self._found.append(_END)
                self._in_group = False
        else:
            self._words.append(mark)
            self._plain.append(mark)
        return position

    def _flush(self) -> None:
        if self._angle is not None:
            inside = self._angle.removeprefix("<").removesuffix(">").strip()
            written = "".join(self._words).strip()
            name = _unquoted(written)
            if inside or name:
                self._add(name or _unquoted(self._comment), written or self._comment, inside)
        elif self._plain:
            self._add(_unquoted(self._comment), self._comment, self._spec())
        self._begin()

    def _spec(self) -> str:
        """Return the address without brackets; words before it, as in `Dr Who a@b.fr`, are lost."""
        if "@" not in self._plain:
            return "".join(self._words).strip()
        return "".join(self._plain)

    def _add(self, name: str, written: str, spec: str) -> None:
        if len(self._found) >= MAX_ADDRESSES:
            raise TooMuch
        local, at, domain = spec.rpartition("@")
        if not at:
            local, domain = domain, ""
        if local.startswith("@"):  # a route (RFC 5322 §4.4)
            local = local.rpartition(":")[2]
        mailbox = _PAIR.sub(r"\1", local[1:-1]) if _is_quoted(local) else local.strip()
        plain = _unquoted_only(written)
        self._found.append(
            Address(name, mailbox, domain.strip(), "" if plain == name else plain),
        )


_END: Final = Address("", None, None)


def _comment(value: str, position: int) -> tuple[int, str]:
    """Return the position behind a comment, and its text; nesting is counted, not recursed."""
    depth, begin = 1, position
    while depth and (piece := _COMMENT.match(value, position)):
        depth += {"(": 1, ")": -1}.get(piece[0], 0)
        position = piece.end()
    return position, value[begin : position - (not depth)].strip()


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'


def _unquoted_only(phrase: str) -> str:
    """Return a phrase without quotes and with single blanks, its encoded words as written."""
    if '"' in phrase:
        phrase = _QUOTED.sub(lambda found: _PAIR.sub(r"\1", found[1]), phrase)
    return " ".join(phrase.split())


_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|\\?$)', re.DOTALL)


def _unquoted(phrase: str) -> str:
    return " ".join(decode_text(_unquoted_only(phrase)).split())
