"""Reports on mail: read receipts (MDN, RFC 8098) and delivery reports (DSN, RFC 3464).

Pure.
"""

import re
from typing import Final

from mailstore.summaries.fields.section import Fields
from mailstore.summaries.fields.words import decode_text
from mailstore.summaries.model import DeliveryReport, Receipt

OTHER_ERROR: Final = 906
"""Code of an error that is none of the others (DOMAIN §7.3)."""

_WORST: Final = ("failed", "delayed", "expanded", "relayed", "delivered")
_CODE: Final = re.compile(r"\s*([0-9]{1,4})\s*[\^:\s-]*\s*(.*)", re.DOTALL)
_STATUS: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_MAX_RECIPIENTS: Final = 1000


def read_receipt(octets: bytes) -> Receipt | None:
    """Read the fields of a disposition notification; None without a disposition.

    `processed/Error: 902^…` is beyond RFC 8098's grammar but used (DOMAIN §7.3); the field Error
    stands beside it, or alone.
    """
    fields = Fields(octets)
    # The mode, `automatic-action/MDN-sent-automatically`, goes; type and modifiers follow it.
    _, _, kind = fields.first("disposition").partition(";")
    word, _, modifier = kind.partition("/")
    disposition = word.strip().lower()
    if not disposition:
        return None
    original = message_id(fields.first("original-message-id"))
    label, _, detail = modifier.partition(":")
    failed = label.strip().lower() in {"error", "failure"} or disposition == "failed"
    if not failed:
        return Receipt(disposition, original)
    for written in (detail, fields.first("error"), fields.first("failure")):
        if found := _CODE.fullmatch(written):
            return Receipt(disposition, original, int(found[1]), decode_text(found[2].strip()))
    return Receipt(disposition, original, OTHER_ERROR, decode_text(detail.strip()))


def read_delivery_report(octets: bytes, original: str) -> DeliveryReport | None:
    """Read the worst action of a delivery report; None without one."""
    blocks = octets.replace(b"\r\n", b"\n").strip(b"\n").split(b"\n\n", _MAX_RECIPIENTS + 1)
    worst: tuple[int, str, str] | None = None
    for block in blocks[: _MAX_RECIPIENTS + 1]:
        fields = Fields(block.lstrip(b"\n"))
        action = fields.first("action").lower().partition(" ")[0]
        if action not in _WORST:
            continue
        rank = _WORST.index(action)
        if worst is None or rank < worst[0]:
            status = _STATUS.match(fields.first("status"))
            worst = rank, action, status[0] if status else ""
    return None if worst is None else DeliveryReport(worst[1], worst[2], original)


def message_id(value: str) -> str:
    """Return the first message id of a value, without brackets; the value if it has none."""
    found = ID.search(value)
    return found[1] if found else value.strip("<> \t")


ID: Final = re.compile(r"<([^<>\s]+)>")
