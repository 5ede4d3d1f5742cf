"""The text of HTML for a preview: not rendered, its tags and all that is not shown are left out.

Pure and linear: each `<` begins a piece that is looked at once.
"""

import html
import re
from typing import Final

_HIDDEN: Final = frozenset({"style", "script", "head", "title", "template", "noscript"})
_BREAKS: Final = frozenset(
    {"p", "br", "div", "tr", "td", "th", "table", "li", "ul", "ol", "hr", "pre", "blockquote"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "body"}
)
_TAG: Final = re.compile(r"/?[a-zA-Z][a-zA-Z0-9]*")


def html_text(markup: str, enough: int) -> str:
    """Return the text between tags, at least `enough` characters of it if there are so many."""
    first, *pieces = markup.split("<")
    text = _Text()
    text.show(first)
    for piece in pieces:
        text.take(piece)
        if text.size > 2 * enough:
            break
    return "".join(text.shown)


class _Text:
    """The text so far; `_hidden` is the element whose content is not shown, `_comment` one open."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.size = 0
        self._hidden = ""
        self._comment = False

    def show(self, text: str) -> None:
        self.shown.append(html.unescape(text))
        self.size += len(text.strip())

    def take(self, piece: str) -> None:
        """Take the octets behind a `<`."""
        if self._comment or (not self._hidden and piece.startswith("!--")):
            _, end, text = piece.partition("-->")
            self._comment = not end
            self.show(text)
            return
        found = _TAG.match(piece)
        name = found[0].lower() if found else ""
        if self._hidden:
            # A body ends a head that is not closed.
            if name not in {f"/{self._hidden}", "body"}:
                return
            self._hidden = ""
        elif name in _HIDDEN:
            self._hidden = name
            return
        if not name and piece[:1] not in "!?/":
            self.show(f"<{piece}")  # a sign of the text
            return
        if name.removeprefix("/") in _BREAKS:
            self.shown.append(" ")
        self.show(piece.partition(">")[2])
