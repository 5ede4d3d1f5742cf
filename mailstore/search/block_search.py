"""Criteria on the texts of search blocks: the messages of a mailbox that meet each of them."""

from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Final

from mailstore.blobs.store import Store
from mailstore.errors import KeyMissing, SealBroken
from mailstore.sealed.row_seal import RowSeal
from mailstore.search import criteria as c
from mailstore.search.criteria import Criterion, Field
from mailstore.summary_store.block_form import Block, Text, to_octets
from mailstore.summary_store.block_rows import (
    BlockRange,
    held_between,
    latest_modseq,
    open_block,
    sealed_blocks,
)
from mailstore.summary_store.blocks import make_next_block, read_records
from mailstore.summary_store.folded import folded

MANY_NEW: Final = 1000  # messages without a block, for which blocks are made before a search

_COLUMNS: Final = {
    Field.SENDER: Text.SENDER,
    Field.FROM: Text.FROM,
    Field.TO: Text.TO,
    Field.CC: Text.CC,
    Field.BCC: Text.BCC,
    Field.SUBJECT: Text.SUBJECT,
    Field.ATTACHMENTS: Text.ATTACHMENTS,
}


def block_hits(
    store: Store, seal: RowSeal, mailbox_id: int, wanted: Collection[Criterion]
) -> dict[Criterion, set[str]]:
    """Message ids that meet each of the criteria; other kinds of criteria are left out.

    A message may have been expunged by now. Raises StoreUnavailable.
    """
    looks = {one: look for one in wanted if (look := _look(one)) is not None}
    hits: dict[Criterion, set[str]] = {one: set() for one in looks}
    if not looks:
        return hits
    for block in _blocks(store, seal, mailbox_id):
        for one, look in looks.items():
            if places := look(block):
                hits[one].update(block.message_ids_at(places))
    return hits


def _blocks(store: Store, seal: RowSeal, mailbox_id: int) -> Iterator[Block]:
    """Blocks with all messages of a mailbox, those without a block in the last."""
    with store.database.read() as conn:
        found = sealed_blocks(conn, mailbox_id)
        latest = latest_modseq(conn, mailbox_id)
        new = held_between(conn, mailbox_id, _end(found) + 1, latest, MANY_NEW)
    if len(new) >= MANY_NEW:
        # Made now, they serve all later searches.
        while make_next_block(store, seal, mailbox_id):
            pass
        with store.database.read() as conn:
            found = sealed_blocks(conn, mailbox_id)
    for place, sealed in found:
        try:
            yield open_block(place, sealed, seal)
        except (KeyMissing, SealBroken):
            yield _from_summaries(store, seal, mailbox_id, place.first, place.last)
    yield _from_summaries(store, seal, mailbox_id, _end(found) + 1, latest)


def _end(found: list[tuple[BlockRange, bytes]]) -> int:
    return found[-1][0].last if found else 0


def _from_summaries(store: Store, seal: RowSeal, mailbox_id: int, first: int, last: int) -> Block:
    with store.database.read() as conn:
        held = held_between(conn, mailbox_id, first, last)
    return Block(to_octets(read_records(store, seal, held)))


def _look(criterion: Criterion) -> Callable[[Block], list[int]] | None:
    match criterion:
        case c.Holds(field, text):
            column, octets = _COLUMNS[field], folded(text).encode("utf-8", "surrogatepass")
            return lambda block: block.holding(column, octets)
        case c.Clinical(name):
            word = f" {folded(name)} ".encode()
            return lambda block: block.holding(Text.CLINICAL, word)
        case c.Sent(since, before):
            first, end = _ordinal(since, 1), _ordinal(before, date.max.toordinal() + 1)
            return lambda block: [
                place for place, day in enumerate(block.sent_days()) if first <= day < end
            ]
        case _:
            return None


def _ordinal(day: date | None, otherwise: int) -> int:
    return otherwise if day is None else day.toordinal()
