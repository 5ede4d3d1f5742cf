"""`read_summary`: one linear reading of a message, trace fields in front.

Pure but for `read` of the body it is given.
"""

from typing import BinaryIO, Final

from mailstore.summaries.clinical import clinical_facts
from mailstore.summaries.fields.section import Fields
from mailstore.summaries.limits import TooMuch
from mailstore.summaries.model import DeliveryReport, Receipt, Summary
from mailstore.summaries.parts import (
    attachments,
    leaves,
    read_envelope,
    read_part,
    thread_keys,
)
from mailstore.summaries.preview import decoded, preview
from mailstore.summaries.reports import message_id, read_delivery_report, read_receipt
from mailstore.summaries.tree import Node, is_text, read_tree
from mailstore.summaries.window import Window

# Further fields that lists need, beside List-* and X-MSS-*.
_LISTED: Final = frozenset(
    {"auto-submitted", "disposition-notification-to", "precedence", "sensitivity"}
    | {"importance", "priority", "x-priority"}
)
_LISTED_PREFIXES: Final = ("list-", "x-mss-")
_ORIGINALS: Final = frozenset({"text/rfc822-headers", "message/global-headers"})


def read_summary(body: BinaryIO, trace: bytes) -> Summary:
    """Read the summary of a message: `trace` as stored in front of it, then `body`.

    Never raises for content: a message beyond the limits is `unreadable` as a whole.  Errors of
    reading `body` pass.  Each octet is read once, in pieces; memory is bounded.
    """
    window = Window(body, trace)
    try:
        return _summary(read_tree(window))
    except TooMuch:
        return Summary(window.exhaust(), unreadable=True)


def _summary(root: Node) -> Summary:
    envelope = read_envelope(root.fields)
    parts = list(leaves(root))
    attached = attachments(root, parts)
    receipt, report = _reports(parts)
    return Summary(
        root.end,
        envelope=envelope,
        fields=_listed(root.fields),
        preview=_preview(parts),
        attachments=attached,
        thread=thread_keys(root.fields, envelope.subject),
        clinical=clinical_facts(root.fields, envelope.subject, attached, receipt, report),
        structure=read_part(root),
    )


def _listed(fields: Fields) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name in dict.fromkeys(fields.names)
        if name in _LISTED or name.startswith(_LISTED_PREFIXES)
        for value in fields.all(name)
    )


def _preview(parts: list[Node]) -> str:
    """Return the preview of the first plain text, else of the first other text that has any."""
    texts = [
        one
        for one in parts
        if one.sample is not None
        and is_text(one)
        and not one.fields.first("content-disposition").lower().startswith("attachment")
    ]
    for one in sorted(texts, key=lambda one: one.type != "text/plain"):
        octets = one.sample.octets() if one.sample else b""
        subtype = one.type.partition("/")[2]
        charset = dict(one.params).get("charset", "")
        if shown := preview(octets, subtype, charset, one.encoding):
            return shown
    return ""


def _reports(parts: list[Node]) -> tuple[Receipt | None, DeliveryReport | None]:
    """Return the reports among the parts: the first of each kind."""
    receipt, report = None, None
    for one in parts:
        if one.sample is None or not one.type.startswith("message/"):
            continue
        octets = decoded(one.sample.octets(), one.encoding)
        if one.type.endswith("disposition-notification"):
            receipt = receipt or read_receipt(octets)
        else:
            report = report or read_delivery_report(octets, _original(parts))
    return receipt, report


def _original(parts: list[Node]) -> str:
    """Return the message id of the message that a report is about."""
    for one in parts:
        if one.type in _ORIGINALS and one.sample is not None:
            fields = Fields(decoded(one.sample.octets(), one.encoding))
        elif one.is_message and one.children:
            fields = one.children[0].fields
        else:
            continue
        if found := message_id(fields.first("message-id")):
            return found
    return ""
