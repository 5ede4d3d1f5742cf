"""Criteria on bodies: read in batches, and decoded only if their octets may hold the text."""

from collections.abc import Collection, Sequence
from typing import Final

from mailstore.blobs.store import Store
from mailstore.sealed.row_seal import RowSeal
from mailstore.search import criteria as c
from mailstore.search.body_text import body_holds, field_holds, header_holds
from mailstore.search.criteria import Criterion
from mailstore.search.first_look import likely_among
from mailstore.summaries.model import Summary
from mailstore.summary_store.folded import folded
from mailstore.summary_store.making import load_summaries, read_messages

_IN_MEMORY: Final = 16 * 1024 * 1024  # octets of messages that wait to be decoded

BodyCriterion = c.Body | c.AnyText | c.HeaderField


def body_hits(
    store: Store, seal: RowSeal, message_ids: Sequence[str], wanted: Collection[Criterion]
) -> dict[Criterion, set[str]]:
    """Messages among these that meet each criterion on bodies; other criteria are left out.

    An unreadable message meets none. Raises StoreUnavailable.
    """
    asked = [one for one in wanted if isinstance(one, BodyCriterion)]
    hits: dict[Criterion, set[str]] = {one: set() for one in asked}
    if not asked:
        return hits
    texts = {one: folded(one.text) for one in asked}
    wanted_texts = list(dict.fromkeys(texts.values()))
    likely: dict[str, bytes] = {}
    octets = 0
    for batch in read_messages(store, message_ids):
        for place in likely_among([message for _, message in batch], wanted_texts):
            message_id, message = batch[place]
            likely[message_id] = message
            octets += len(message)
        if octets >= _IN_MEMORY:
            _decode(store, seal, likely, texts, hits)
            likely, octets = {}, 0
    _decode(store, seal, likely, texts, hits)
    return hits


def _decode(
    store: Store,
    seal: RowSeal,
    likely: dict[str, bytes],
    texts: dict[BodyCriterion, str],
    hits: dict[Criterion, set[str]],
) -> None:
    summaries = load_summaries(store, seal, list(likely), structure=True)
    for message_id, message in likely.items():
        summary = summaries[message_id]
        if summary is None:
            continue
        for criterion, text in texts.items():
            if _holds(criterion, message, summary, text):
                hits[criterion].add(message_id)


def _holds(criterion: BodyCriterion, message: bytes, summary: Summary, text: str) -> bool:
    if isinstance(criterion, c.HeaderField):
        return field_holds(message, summary, criterion.name, text)
    if body_holds(message, summary, text):
        return True
    return isinstance(criterion, c.AnyText) and header_holds(message, summary, text)
