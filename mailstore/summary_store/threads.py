"""Threads of a mailbox (RFC 8621 §3): messages that share a Message-ID and the base subject.

A message belongs to the thread of the first message that it answers or that answers it, in whatever
order they came. The thread's id is the id of the message that began it; a message never changes
its thread. Message-IDs are stored as keyed hashes alone. Functions take a connection in a
transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, select

from mailstore.db.dialect import insert_or_ignore
from mailstore.db.summary_schema import message_threads, thread_keys
from mailstore.sealed.row_seal import RowSeal
from mailstore.summaries.model import ThreadKeys
from mailstore.summary_store.summary_rows import grouped

MAX_KEYS: Final = 50  # Message-IDs of a message, its own and the last of its references

_THREAD: Final = message_threads.c
_KEY: Final = thread_keys.c
_FIND: Final = select(_THREAD.message_id, _THREAD.thread_id).where(
    _THREAD.mailbox_id == bindparam("mailbox"),
    _THREAD.message_id.in_(bindparam("ids", expanding=True)),
)
_MEMBERS: Final = (
    select(_THREAD.message_id)
    .where(_THREAD.mailbox_id == bindparam("mailbox"), _THREAD.thread_id == bindparam("thread"))
    .order_by(_THREAD.message_id)
)
_KNOWN: Final = select(_KEY.key, _KEY.thread_id).where(
    _KEY.mailbox_id == bindparam("mailbox"), _KEY.key.in_(bindparam("keys", expanding=True))
)


def thread_bound(mailbox_id: int) -> bytes:
    """Facts that the hashes of a mailbox's Message-IDs are bound to."""
    return b"thread_keys\0%d" % mailbox_id


def thread_texts(keys: ThreadKeys) -> list[str]:
    """Texts whose hashes a message shares with the others of its thread."""
    ids = [keys.message_id, *keys.references[-MAX_KEYS + 1 :]]
    return [f"{one}\n{keys.base_subject}" for one in dict.fromkeys(ids) if one]


def threads_of(conn: Connection, mailbox_id: int, message_ids: Collection[str]) -> dict[str, str]:
    """Thread ids by message id; missing if it has none yet."""
    found: dict[str, str] = {}
    for ids in grouped(list(message_ids)):
        rows = conn.execute(_FIND, {"mailbox": mailbox_id, "ids": ids})
        found.update((row[0], row[1]) for row in rows)
    return found


def thread_members(conn: Connection, mailbox_id: int, thread_id: str) -> list[str]:
    """Message ids of a thread, by age."""
    return list(conn.scalars(_MEMBERS, {"mailbox": mailbox_id, "thread": thread_id}))


def place_in_threads(
    conn: Connection, mailbox_id: int, seal: RowSeal, keys: Mapping[str, ThreadKeys | None]
) -> dict[str, str]:
    """Give messages their threads; hold the mailbox's lock. Returns thread ids by message id.

    `keys`: by message id, the oldest first; None for an unreadable message, a thread of its own.
    A message that has a thread keeps it.
    """
    placed = threads_of(conn, mailbox_id, keys)
    bound = thread_bound(mailbox_id)
    texts = {
        one: thread_texts(of) if of is not None else []
        for one, of in keys.items()
        if one not in placed
    }
    hashes = {text: seal.hashes(text, bound) for each in texts.values() for text in each}
    known = _known(conn, mailbox_id, [one for each in hashes.values() for one in each])
    new_keys: list[dict[str, object]] = []
    for message_id, each in texts.items():
        shared = {known[one] for text in each for one in hashes[text] if one in known}
        thread_id = min(shared, default=message_id)
        placed[message_id] = thread_id
        for text in each:
            newest = seal.hash(text, bound)
            if not any(one in known for one in hashes[text]):
                new_keys.append({"mailbox_id": mailbox_id, "key": newest, "thread_id": thread_id})
            known.setdefault(newest, thread_id)
    if new_keys:
        conn.execute(insert_or_ignore(conn, thread_keys), new_keys)
    rows = [
        {"mailbox_id": mailbox_id, "message_id": one, "thread_id": placed[one]} for one in texts
    ]
    if rows:
        conn.execute(insert_or_ignore(conn, message_threads), rows)
    return placed


def _known(conn: Connection, mailbox_id: int, hashes: Sequence[bytes]) -> dict[bytes, str]:
    """Thread ids by hash; the oldest if a hash has several."""
    found: dict[bytes, str] = {}
    for start in range(0, len(hashes), 500):
        keys = hashes[start : start + 500]
        for key, thread_id in conn.execute(_KNOWN, {"mailbox": mailbox_id, "keys": keys}):
            found[bytes(key)] = min(thread_id, found.get(bytes(key), thread_id))
    return found
