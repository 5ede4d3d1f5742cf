"""A message's record in a search block, from its summary. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_tz
from typing import Final

from foundation.unreadable_text import UnreadableText
from mailstore.summaries.model import Addresses, Summary
from mailstore.summary_store.block_form import Record
from mailstore.summary_store.folded import folded

_LONGEST: Final = 8192  # characters of a text; longer lists of recipients are cut
UNREADABLE_CLASS: Final = "unreadable"


def record_of(summary: Summary, entry_id: int, message_id: str, sender: str) -> Record:
    """Record of a message; `sender` of the envelope. A hostile message has no texts."""
    envelope = summary.envelope
    classes = (UNREADABLE_CLASS,) if summary.unreadable else summary.clinical.classes
    return Record(
        entry_id=entry_id,
        message_id=message_id,
        sent=envelope.sent_at or 0,
        sent_day=sent_day(envelope.date, envelope.sent_at),
        sender="" if isinstance(sender, UnreadableText) else _text(sender),
        from_=_people(envelope.authors),
        to=_people(envelope.to),
        cc=_people(envelope.cc),
        bcc=_people(envelope.bcc),
        subject=_text(envelope.subject),
        clinical=" ".join(("", *classes, "")) if classes else "",
        attachments=_text(", ".join(one.name or one.type for one in summary.attachments)),
    )


def sent_day(date: str, sent_at: int | None) -> int:
    """Ordinal of the day in the field Date, in its own zone (RFC 9051 §6.4.4); 0 if none."""
    parts = parsedate_tz(date) if date else None
    try:
        if parts is not None:
            return datetime(*parts[:3], tzinfo=UTC).toordinal()
        return 0 if sent_at is None else datetime.fromtimestamp(sent_at, UTC).toordinal()
    except (ValueError, OverflowError, OSError, IndexError, TypeError):
        return 0


def _people(addresses: Addresses) -> str:
    shown = (
        f"{one.name} <{one.spec}>" if one.name else one.spec or one.mailbox or ""
        for one in addresses
    )
    return _text(", ".join(text for text in shown if text))


def _text(text: str) -> str:
    return folded(text[:_LONGEST])[:_LONGEST]
