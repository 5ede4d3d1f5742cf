"""Making of search blocks: of new messages, and anew when messages left them or came back.

Texts are read and sealed outside of the transaction; the transaction, under the mailbox's lock,
only compares and writes. If another machine was faster, or a message was expunged meanwhile, it
writes nothing, and the caller's next round looks again.
"""

from collections.abc import Sequence
from typing import Final

from foundation.failpoints import failpoint
from mailstore.blobs.store import Store
from mailstore.folders.lock import lock_mailbox
from mailstore.sealed.row_seal import RowSeal
from mailstore.summary_store.block_form import Record
from mailstore.summary_store.block_rows import (
    BlockRange,
    Held,
    block_ranges,
    drop_block,
    held_between,
    is_erased,
    latest_modseq,
    live_entries,
    put_block,
    records_of,
    seal_block,
    sealed_blocks,
)
from mailstore.summary_store.making import load_summaries
from mailstore.summary_store.record import record_of

FULL: Final = 256  # messages of a block, more if they were added together
FEW: Final = 32  # new messages that wait for a block


def make_next_block(store: Store, seal: RowSeal, mailbox_id: int) -> bool:
    """Make the next block of a mailbox, or fill up its last; False if there is nothing to do.

    Fewer than `FEW` new messages are left: a message is written eight times at most. Raises
    StoreUnavailable.
    """
    with store.database.read() as conn:
        ranges = block_ranges(conn, mailbox_id)
        covered = ranges[-1].last if ranges else 0
        latest = latest_modseq(conn, mailbox_id)
        new = held_between(conn, mailbox_id, covered + 1, latest, FULL)
        if len(new) < FEW:
            return False
        last = ranges[-1] if ranges else None
        grows = last is not None and last.messages >= 0 and last.messages + len(new) <= FULL
        kept = sealed_blocks(conn, mailbox_id)[-1:] if grows else []
    old = records_of(*kept[0], seal) if kept else None
    if last is not None and old is not None:
        first, number, messages = last.first, last.number, last.messages
    else:
        old, messages = [], 0
        first, number = covered + 1, (last.number + 1 if last else 1)
    place = BlockRange(mailbox_id, number, first, new[-1].added_modseq, messages + len(new))
    records = [*old, *read_records(store, seal, new)]
    return _write(store, seal, place, records, ranges)


def remake_blocks(store: Store, seal: RowSeal, mailbox_id: int) -> int:
    """Make anew the blocks with expunged messages, or marked as stale; their number.

    Raises StoreUnavailable.
    """
    with store.database.read() as conn:
        ranges = block_ranges(conn, mailbox_id)
        found = [one for one in ranges if one.messages != len(live_entries(conn, one))]
    return sum(_remake(store, seal, one) for one in found)


def read_records(store: Store, seal: RowSeal, held: Sequence[Held]) -> list[Record]:
    """Records of messages from their summaries; unreadable messages have none."""
    summaries = load_summaries(store, seal, [one.message_id for one in held])
    found = ((one, summaries[one.message_id]) for one in held)
    return [
        record_of(summary, one.entry_id, one.message_id, one.sender)
        for one, summary in found
        if summary is not None
    ]


def _write(
    store: Store,
    seal: RowSeal,
    place: BlockRange,
    records: Sequence[Record],
    before: Sequence[BlockRange],
) -> bool:
    sealed = seal_block(place, records, seal)
    failpoint("block.sealed")
    with store.database.write() as conn:
        lock_mailbox(conn, place.mailbox_id)
        if block_ranges(conn, place.mailbox_id) != list(before):
            return False  # another machine made it
        if is_erased(conn, place.mailbox_id):
            return False
        put_block(conn, place, sealed)
        failpoint("block.inserted")
    failpoint("block.committed")
    return True


def _remake(store: Store, seal: RowSeal, place: BlockRange) -> bool:
    with store.database.read() as conn:
        kept = dict(sealed_blocks(conn, place.mailbox_id))
        held = held_between(conn, place.mailbox_id, place.first, place.last)
    if place not in kept:
        return False
    live = {one.entry_id for one in held}
    was = records_of(place, kept[place], seal) or []
    records = [one for one in was if one.entry_id in live]
    known = {one.entry_id for one in records}
    records += read_records(store, seal, [one for one in held if one.entry_id not in known])
    new = place._replace(messages=len(live))
    sealed = seal_block(new, records, seal)
    with store.database.write() as conn:
        lock_mailbox(conn, place.mailbox_id)
        there = block_ranges(conn, place.mailbox_id)
        if place not in there or live_entries(conn, place) != live:
            return False
        if live:
            put_block(conn, new, sealed)
        else:
            drop_block(conn, place)
    return True
