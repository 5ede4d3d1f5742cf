"""Summaries, search blocks and threads sealed anew with the newest key, so that older keys can go.

In small transactions: a kill loses nothing, and the next run goes on. A row that cannot be opened
stays as it is, and does not stop the others. Hashes of Message-IDs are made anew from the
summaries: the hash alone does not tell the text.
"""

from typing import Final

from sqlalchemy import Connection, delete, select, tuple_, update

from foundation.failpoints import failpoint
from mailstore.db.database import Database
from mailstore.db.dialect import insert_or_ignore, overwrite_deleted
from mailstore.db.summary_schema import message_threads, search_blocks, summaries, thread_keys
from mailstore.errors import KeyMissing, SealBroken
from mailstore.sealed.row_seal import RowSeal
from mailstore.summaries.form import UnknownForm, from_octets
from mailstore.summary_store.block_rows import BlockRange
from mailstore.summary_store.summary_rows import sealed_summaries, summary_bound
from mailstore.summary_store.threads import thread_bound, thread_texts

_AT_ONCE: Final = 200
_BLOCKS_AT_ONCE: Final = 20
_BROKEN: Final = (KeyMissing, SealBroken, UnknownForm)


def reseal_summaries(database: Database, seal: RowSeal) -> int:
    """Seal anew what an older key sealed; the number of summaries and blocks.

    Raises StoreUnavailable.
    """
    if seal.keys is not None:
        seal.keys.refresh()
    _rehash_threads(database, seal)  # first: it needs the summaries
    return _reseal_rows(database, seal) + _reseal_blocks(database, seal)


def _reseal_rows(database: Database, seal: RowSeal) -> int:
    row = summaries.c
    done, after = 0, ""
    while True:
        page = select(row.message_id, row.sealed).where(row.message_id > after)
        with database.read() as conn:
            found = conn.execute(page.order_by(row.message_id).limit(_AT_ONCE)).all()
        if not found:
            return done
        after = found[-1].message_id
        new = []
        for message_id, sealed in found:
            again = _again(bytes(sealed), summary_bound(message_id), seal)
            if again is not None:
                new.append((message_id, bytes(sealed), again))
        if not new:
            continue
        with database.write() as conn:
            overwrite_deleted(conn)
            for message_id, before, again in new:
                same = (row.message_id == message_id, row.sealed == before)
                done += conn.execute(update(summaries).where(*same).values(sealed=again)).rowcount
            failpoint("summaries.resealed")


def _reseal_blocks(database: Database, seal: RowSeal) -> int:
    block = search_blocks.c
    place = tuple_(block.mailbox_id, block.number)
    done, after = 0, (0, 0)
    while True:
        page = (
            select(
                block.mailbox_id,
                block.number,
                block.first,
                block.last,
                block.messages,
                block.sealed,
            )
            .where(place > after)
            .order_by(block.mailbox_id, block.number)
            .limit(_BLOCKS_AT_ONCE)
        )
        with database.read() as conn:
            found = conn.execute(page).all()
        if not found:
            return done
        after = (found[-1].mailbox_id, found[-1].number)
        new = []
        for row in found:
            one = BlockRange(*row[:5])
            again = _again(bytes(row.sealed), one.bound, seal)
            if again is not None:
                new.append((one, bytes(row.sealed), again))
        if not new:
            continue
        with database.write() as conn:
            overwrite_deleted(conn)
            for one, before, again in new:
                same = (
                    block.mailbox_id == one.mailbox_id,
                    block.number == one.number,
                    block.sealed == before,
                )
                changed = update(search_blocks).where(*same).values(sealed=again)
                done += conn.execute(changed).rowcount


def _rehash_threads(database: Database, seal: RowSeal) -> None:
    thread = message_threads.c
    place = tuple_(thread.mailbox_id, thread.message_id)
    after = (0, "")
    while True:
        page = select(thread.mailbox_id, thread.message_id, thread.thread_id).where(place > after)
        page = page.order_by(thread.mailbox_id, thread.message_id).limit(_AT_ONCE)
        with database.read() as conn:
            found = [tuple(row) for row in conn.execute(page)]
            sealed = sealed_summaries(conn, [row[1] for row in found])
        if not found:
            return
        after = found[-1][:2]
        texts = {one: _texts(one, octets, seal) for one, octets in sealed.items()}
        with database.write() as conn:
            _rehash(conn, [(row[0], row[2], texts.get(row[1], [])) for row in found], seal)


def _rehash(conn: Connection, found: list[tuple[int, str, list[str]]], seal: RowSeal) -> None:
    """Replace the hashes of messages (mailbox, thread, texts) by those under the newest key."""
    old, new = [], []
    for mailbox_id, thread_id, texts in found:
        bound = thread_bound(mailbox_id)
        for text in texts:
            newest = seal.hash(text, bound)
            old += [(mailbox_id, one) for one in seal.hashes(text, bound) if one != newest]
            new.append({"mailbox_id": mailbox_id, "key": newest, "thread_id": thread_id})
    overwrite_deleted(conn)
    pair = tuple_(thread_keys.c.mailbox_id, thread_keys.c.key)
    for start in range(0, len(old), 200):
        conn.execute(delete(thread_keys).where(pair.in_(old[start : start + 200])))
    if new:
        conn.execute(insert_or_ignore(conn, thread_keys), new)


def _texts(message_id: str, sealed: bytes, seal: RowSeal) -> list[str]:
    try:
        octets = seal.open_octets(sealed, summary_bound(message_id))
        return thread_texts(from_octets(octets, structure=False).thread)
    except _BROKEN:
        return []


def _again(sealed: bytes, bound: bytes, seal: RowSeal) -> bytes | None:
    """The value under the newest key; None if it has it already, or cannot be opened."""
    if seal.is_newest(sealed):
        return None
    try:
        return seal.seal_octets(seal.open_octets(sealed, bound), bound)
    except _BROKEN:
        return None
