"""Rows of search blocks: their ranges, contents and live messages.

A block covers all messages of a mailbox whose `added_modseq` lies in its range. Messages come into
a range never again once it is covered, since modification sequences are given under the mailbox's
lock; they leave it when they are expunged. Functions take a connection in a transaction.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from mailstore.db.dialect import overwrite_deleted
from mailstore.db.folder_schema import folder_messages, mailbox_state
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.db.summary_schema import search_blocks
from mailstore.errors import KeyMissing, SealBroken
from mailstore.sealed.row_seal import RowSeal
from mailstore.summary_store.block_form import Block, Record, to_octets

STALE: Final = -1  # `messages` of a block that is to be made anew

_BLOCK: Final = search_blocks.c
_HELD: Final = folder_messages.c


class BlockRange(NamedTuple):
    """Place of a block: all messages with an `added_modseq` from `first` to `last`."""

    mailbox_id: int
    number: int
    first: int
    last: int
    messages: int

    @property
    def bound(self) -> bytes:
        """Facts that the sealed block is bound to."""
        return b"search_blocks\0%d %d %d %d" % self[:4]


class Held(NamedTuple):
    """A message that a mailbox holds; `sender` of the envelope."""

    entry_id: int
    message_id: str
    added_modseq: int
    sender: str


_RANGES: Final = (
    select(_BLOCK.mailbox_id, _BLOCK.number, _BLOCK.first, _BLOCK.last, _BLOCK.messages)
    .where(_BLOCK.mailbox_id == bindparam("mailbox"))
    .order_by(_BLOCK.number)
)
_SEALED: Final = _RANGES.add_columns(_BLOCK.sealed)
_ENTRIES: Final = select(_HELD.entry_id).where(
    _HELD.mailbox_id == bindparam("mailbox"),
    _HELD.added_modseq.between(bindparam("first"), bindparam("last")),
)
_MEMBERS: Final = (
    select(_HELD.entry_id, _HELD.message_id, _HELD.added_modseq, messages.c.sender)
    .join_from(folder_messages, messages, messages.c.id == _HELD.message_id)
    .where(
        _HELD.mailbox_id == bindparam("mailbox"),
        _HELD.added_modseq.between(bindparam("first"), bindparam("last")),
    )
    .order_by(_HELD.added_modseq, _HELD.entry_id)
)
_COVERED: Final = select(func.coalesce(func.max(_BLOCK.last), 0)).where(
    _BLOCK.mailbox_id == bindparam("mailbox")
)
_LATEST: Final = select(mailbox_state.c.modseq).where(
    mailbox_state.c.mailbox_id == bindparam("mailbox")
)
_HELD_IN: Final = (
    select(_BLOCK.mailbox_id, _BLOCK.number)
    .select_from(entries)
    .join(
        folder_messages,
        and_(_HELD.mailbox_id == entries.c.mailbox_id, _HELD.message_id == entries.c.message_id),
    )
    .join(
        search_blocks,
        and_(
            _BLOCK.mailbox_id == _HELD.mailbox_id,
            _HELD.added_modseq.between(_BLOCK.first, _BLOCK.last),
        ),
    )
    .where(entries.c.message_id.in_(bindparam("ids", expanding=True)))
)
_MARK_STALE: Final = (
    update(search_blocks)
    .where(tuple_(_BLOCK.mailbox_id, _BLOCK.number).in_(_HELD_IN))
    .values(messages=STALE)
)
_ERASED: Final = select(mailboxes.c.erased_at).where(mailboxes.c.id == bindparam("mailbox"))


def block_ranges(conn: Connection, mailbox_id: int) -> list[BlockRange]:
    """Blocks of a mailbox, in order."""
    return [BlockRange(*row) for row in conn.execute(_RANGES, {"mailbox": mailbox_id})]


def sealed_blocks(conn: Connection, mailbox_id: int) -> list[tuple[BlockRange, bytes]]:
    """Blocks of a mailbox with their sealed contents, in order."""
    rows = conn.execute(_SEALED, {"mailbox": mailbox_id})
    return [(BlockRange(*row[:5]), bytes(row[5])) for row in rows]


def covered(conn: Connection, mailbox_id: int) -> int:
    """Highest modification sequence that the blocks of a mailbox cover; 0 without blocks."""
    return conn.scalar(_COVERED, {"mailbox": mailbox_id}) or 0


def held_between(
    conn: Connection, mailbox_id: int, first: int, last: int, limit: int | None = None
) -> list[Held]:
    """Messages of a mailbox added from `first` to `last`, oldest first.

    With a `limit` at least that many, and all that were added together with the last of them.
    """
    about = {"mailbox": mailbox_id, "first": first, "last": last}
    if limit is not None:
        nth = select(_HELD.added_modseq).where(
            _HELD.mailbox_id == mailbox_id, _HELD.added_modseq.between(first, last)
        )
        nth = nth.order_by(_HELD.added_modseq).offset(limit - 1).limit(1)
        about["last"] = conn.scalar(nth) or last
    return [Held(*row) for row in conn.execute(_MEMBERS, about)]


def latest_modseq(conn: Connection, mailbox_id: int) -> int:
    """Highest modification sequence given in a mailbox; 0 if nobody has looked yet."""
    return conn.scalar(_LATEST, {"mailbox": mailbox_id}) or 0


def live_entries(conn: Connection, place: BlockRange) -> set[int]:
    """Entries that the mailbox still holds in the range of a block."""
    about = {"mailbox": place.mailbox_id, "first": place.first, "last": place.last}
    return set(conn.scalars(_ENTRIES, about))


def seal_block(place: BlockRange, records: Sequence[Record], seal: RowSeal) -> bytes:
    """Sealed content of a block."""
    return seal.seal_octets(to_octets(records), place.bound)


def open_block(place: BlockRange, sealed: bytes, seal: RowSeal) -> Block:
    """Open a block. Raises KeyMissing, SealBroken."""
    return Block(seal.open_octets(sealed, place.bound))


def put_block(conn: Connection, place: BlockRange, sealed: bytes) -> None:
    """Insert or replace a block; hold the mailbox's lock."""
    overwrite_deleted(conn)
    same = (_BLOCK.mailbox_id == place.mailbox_id, _BLOCK.number == place.number)
    conn.execute(delete(search_blocks).where(*same))
    conn.execute(insert(search_blocks).values(**place._asdict(), sealed=sealed))


def drop_block(conn: Connection, place: BlockRange) -> None:
    """Delete a block; hold the mailbox's lock."""
    overwrite_deleted(conn)
    same = (_BLOCK.mailbox_id == place.mailbox_id, _BLOCK.number == place.number)
    conn.execute(delete(search_blocks).where(*same))


def mark_stale(conn: Connection, message_ids: Sequence[str]) -> None:
    """Let blocks that hold these messages be made anew: they had no summaries before."""
    for start in range(0, len(message_ids), 500):
        conn.execute(_MARK_STALE, {"ids": message_ids[start : start + 500]})


def is_erased(conn: Connection, mailbox_id: int) -> bool:
    """True if the erasure of a mailbox has begun: nothing about it is written any more."""
    return conn.scalar(_ERASED, {"mailbox": mailbox_id}) is not None


def records_of(place: BlockRange, sealed: bytes, seal: RowSeal) -> list[Record] | None:
    """Records of a block; None if it cannot be opened: it is made from summaries again."""
    try:
        return open_block(place, sealed, seal).records()
    except (KeyMissing, SealBroken):
        return None
