"""The tree of a message's parts (RFC 2045, RFC 2046), with the place of each in the octets.

Pure, without recursion: a stack holds the parts that are open.  A part ends where a delimiter of
one of the multiparts around it begins, whichever was due; a message that ends too early ends all.
"""

from dataclasses import dataclass, field
from typing import Final

from mailstore.summaries.fields.parameters import Parameters, read_value
from mailstore.summaries.fields.section import Fields
from mailstore.summaries.limits import MAX_DEPTH, MAX_HEADER, Budget, TooMuch
from mailstore.summaries.window import Dashes, Sample, Window

_SAMPLE: Final = 64 * 1024  # octets of a text or report; an HTML head alone may have 50 kB
_PLAIN: Final = frozenset({"", "7bit", "8bit", "binary"})
_TEXT: Final = ("text/plain", (("charset", "us-ascii"),))
MESSAGES: Final = frozenset({"message/rfc822", "message/global", "message/news"})
REPORTS: Final = frozenset(
    {
        "message/disposition-notification",
        "message/global-disposition-notification",
        "message/delivery-status",
        "message/global-delivery-status",
        "text/rfc822-headers",
    }
)


@dataclass(slots=True, repr=False)
class Node:
    """A part while it is read: its header fields and place; `sample` has its first octets.

    `type` is `type/subtype` in lower case; `boundary` is set while its delimiters are looked for.
    """

    fields: Fields
    type: str
    params: Parameters
    encoding: str
    header: int
    body: int
    end: int = 0
    lines: int = 0
    boundary: bytes | None = None
    sample: Sample | None = None
    children: list["Node"] = field(default_factory=list)

    @property
    def is_message(self) -> bool:
        """Whether its content is a message that can be read in place."""
        return self.type in MESSAGES and self.encoding in _PLAIN


def read_tree(window: Window) -> Node:
    """Read the parts of the message; raises `TooMuch` beyond a limit."""
    return _Reader(window).read()


def is_text(node: Node) -> bool:
    """Whether a part is text.

    A multipart without a single delimiter is, as parts of faulty types are (RFC 2045 §5.2).
    """
    major = node.type.partition("/")[0]
    return major == "text" or (major == "multipart" and not node.children)


class _Reader:
    def __init__(self, window: Window) -> None:
        self._window = window
        self._budget = Budget()
        self._stack: list[Node] = []
        # Position in the stack by boundary; of two equal ones the inner counts.
        self._open: dict[bytes, int] = {}

    def read(self) -> Node:
        root = self._begin(_TEXT)
        while self._stack:
            top = self._stack[-1]
            if top.is_message and not top.children:
                self._begin(_TEXT)
            else:
                self._pass_content(top)
        return root

    def _begin(self, default: tuple[str, Parameters]) -> Node:
        """Read the header of a part, which becomes the top of the stack."""
        if len(self._stack) > MAX_DEPTH:
            raise TooMuch
        window = self._window
        header = window.position
        end, body = window.header_end()
        if self._open and (cut := self._delimiter_within(header, end)) is not None:
            end = body = cut
        if end - header > MAX_HEADER:
            raise TooMuch
        self._budget.take_header(body - header)
        node = _node(Fields(window.slice(header, end)), default, header, body)
        self._sample(node)
        window.position = body
        node.lines = window.lines_to(body)
        if self._stack:
            self._stack[-1].children.append(node)
        self._stack.append(node)
        if node.boundary is not None:
            self._open[node.boundary] = len(self._stack) - 1
        return node

    def _sample(self, node: Node) -> None:
        """Give a sample to a text or report, unless it is within another message."""
        wanted = is_text(node) or node.type in REPORTS
        if wanted and self._budget.samples and not any(one.is_message for one in self._stack):
            self._budget.samples -= 1
            node.sample = Sample(_SAMPLE)

    def _delimiter_within(self, begin: int, end: int) -> int | None:
        """Return where a header section is cut by a delimiter, its empty line lacking."""
        for dashes in self._window.dashes(begin, end):
            if self._delimiter(dashes) is not None:
                return dashes.begin
        return None

    def _pass_content(self, top: Node) -> None:
        """Go to the next delimiter: close the parts that it ends, begin the next."""
        while (dashes := self._window.next_dashes(top.sample)) is not None:
            delimiter = self._delimiter(dashes)
            if delimiter is not None:
                self._meet(dashes, *delimiter)
                return
            self._budget.take_dashes()
            if top.sample is not None:
                top.sample.take(self._window, dashes.begin, dashes.end)
        self._close(0, self._window.read)

    def _delimiter(self, dashes: Dashes) -> tuple[bytes, bool] | None:
        """Return the boundary of a delimiter line, and whether it closes (RFC 2046 §5.1.1)."""
        text = dashes.text[2:].rstrip()
        if text in self._open:
            return text, False
        if text.endswith(b"--") and text[:-2] in self._open:
            return text[:-2], True
        return None

    def _meet(self, dashes: Dashes, boundary: bytes, closes: bool) -> None:  # noqa: FBT001
        place = self._open[boundary]
        self._close(place + 1, self._window.content_end(dashes.begin))
        node = self._stack[place]
        if closes:
            self._forget(node)
            node.sample = None
        else:
            digest = node.type == "multipart/digest"
            self._begin(("message/rfc822", ()) if digest else _TEXT)

    def _close(self, place: int, end: int) -> None:
        """End the parts from a place of the stack on."""
        if place < len(self._stack):
            end = max(end, self._stack[-1].body)
        while len(self._stack) > place:
            node = self._stack.pop()
            self._forget(node)
            node.end = end
            node.lines = self._window.lines_to(end) - node.lines

    def _forget(self, node: Node) -> None:
        """Look for a multipart's delimiters no more."""
        boundary, node.boundary = node.boundary, None
        if boundary is None:
            return
        del self._open[boundary]
        for place, other in enumerate(self._stack):
            if other.boundary == boundary:
                self._open[boundary] = place


def _node(fields: Fields, default: tuple[str, Parameters], header: int, body: int) -> Node:
    written = fields.first("content-type")
    kind, params = read_value(written) if written else default
    major, slash, minor = kind.partition("/")
    if not (slash and major and minor) or " " in kind:
        kind, params = _TEXT  # RFC 2045 §5.2
    encoding = read_value(fields.first("content-transfer-encoding"))[0]
    node = Node(fields, kind, params, encoding, header, body)
    if major == "multipart":
        boundary = dict(params).get("boundary", "").rstrip().encode()
        node.boundary = boundary or None
    return node
