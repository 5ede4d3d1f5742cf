"""Facts of IMAP and of lists from the tree of parts: envelope, structure, attachments, texts.

Pure.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime

from mailstore.summaries.fields.addresses import read_addresses
from mailstore.summaries.fields.parameters import read_value
from mailstore.summaries.fields.section import Fields
from mailstore.summaries.fields.subjects import base_subject
from mailstore.summaries.fields.words import decode_text
from mailstore.summaries.limits import MAX_IDS, TooMuch
from mailstore.summaries.model import Attachment, Envelope, Part, ThreadKeys
from mailstore.summaries.reports import ID, message_id
from mailstore.summaries.tree import MESSAGES, REPORTS, Node, is_text


def read_envelope(fields: Fields) -> Envelope:
    """Return the envelope of a header section."""
    date, written = fields.first("date"), fields.first("subject")
    subject = decode_text(written)
    return Envelope(
        date,
        _seconds(date),
        subject,
        "" if written == subject else written,
        read_addresses(fields.joined("from")),
        read_addresses(fields.joined("sender")),
        read_addresses(fields.joined("reply-to")),
        read_addresses(fields.joined("to")),
        read_addresses(fields.joined("cc")),
        read_addresses(fields.joined("bcc")),
        fields.first("in-reply-to"),
        fields.first("message-id"),
    )


def _seconds(date: str) -> int | None:
    if not date or len(date) > 200:
        return None
    try:
        at = parsedate_to_datetime(date)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def thread_keys(fields: Fields, subject: str) -> ThreadKeys:
    """Return the ids that tie the message to a thread; raises `TooMuch` beyond `MAX_IDS`."""
    found: dict[str, None] = {}
    for name in ("references", "in-reply-to"):
        for one in ID.finditer(fields.joined(name)):
            found[one[1]] = None
            if len(found) > MAX_IDS:
                raise TooMuch
    own = message_id(fields.first("message-id"))
    found.pop(own, None)
    return ThreadKeys(own, tuple(found), base_subject(subject))


def read_part(node: Node) -> Part:
    """Return the part of a node, with its children."""
    fields = node.fields
    major, _, minor = node.type.partition("/")
    if major == "multipart" and is_text(node):
        major, minor = "text", "plain"
    disposition, disposition_params = read_value(fields.first("content-disposition"))
    inner = node.children[0] if node.is_message and node.children else None
    return Part(
        major,
        minor,
        node.header,
        node.body,
        node.end,
        node.lines if major == "text" or inner is not None else 0,
        node.params,
        fields.first("content-id"),
        fields.decoded("content-description"),
        node.encoding or "7bit",
        fields.first("content-md5"),
        disposition,
        disposition_params,
        tuple(one.strip() for one in fields.first("content-language").split(",") if one.strip()),
        fields.first("content-location"),
        read_envelope(inner.fields) if inner is not None else None,
        tuple(map(read_part, node.children)),
    )


def leaves(node: Node) -> Iterator[Node]:
    """Parts that are no multiparts, in their order; those within a message are its own affair."""
    pending = [node]
    while pending:
        one = pending.pop()
        if one.type.startswith("multipart/") and one.children:
            pending.extend(reversed(one.children))
        else:
            yield one


def attachments(root: Node, nodes: Iterable[Node]) -> tuple[Attachment, ...]:
    """Return the leaves that lists show as attachments.

    Not the texts, the pictures within HTML, nor the parts of a report with the message it is about.
    """
    found = []
    is_report = root.type == "multipart/report"
    for node in nodes:
        disposition, params = read_value(node.fields.first("content-disposition"))
        name = dict(params).get("filename") or dict(node.params).get("name", "")
        if disposition != "attachment":
            picture = node.type.startswith("image/") and "content-id" in node.fields
            original = is_report and node.type in MESSAGES
            if picture or original or node.type in REPORTS or (is_text(node) and not name):
                continue
        found.append(Attachment(name, node.type, node.end - node.body))
    return tuple(found)
