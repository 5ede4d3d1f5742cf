r"""\Seen of each person apart, in mailboxes where it is private.

A person without a row for a message sees the shared bit, as it was when \Seen became private: so
nothing that was read becomes unread then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, select, update

from mailstore.db.bulk_insert import BulkInsert
from mailstore.db.folder_schema import folder_messages, folders, mailbox_state, seen_by_person
from mailstore.db.listed import listed_numbers
from mailstore.folders.flags import Flag
from mailstore.folders.lock import MailboxLock

_FM, _S = folder_messages.c, seen_by_person.c
_COLUMNS = ("entry_id", "account_id", "mailbox_id", "seen", "modseq")
_SET = BulkInsert(
    seen_by_person,
    _COLUMNS,
    "ON CONFLICT (entry_id, account_id)"
    " DO UPDATE SET seen = excluded.seen, modseq = excluded.modseq",
)
_OF_ENTRIES: Final = select(_S.entry_id, _S.account_id, _S.seen, _S.modseq).where(
    listed_numbers(_S.entry_id, "entries")
)


@dataclass(frozen=True, slots=True)
class SeenBy:
    r"""A person's \Seen of an entry, and its modification sequence."""

    entry_id: int
    account_id: int
    seen: bool
    modseq: int


def seen_of(lock: MailboxLock, entry_ids: Sequence[int]) -> list[SeenBy]:
    r"""All persons' \Seen of these entries, where it is private."""
    if not lock.private_seen:
        return []
    rows = lock.conn.execute(_OF_ENTRIES, {"entries": entry_ids})
    return [SeenBy(row.entry_id, row.account_id, bool(row.seen), row.modseq) for row in rows]


def set_seen(lock: MailboxLock, account_id: int, seen: dict[int, bool]) -> None:
    r"""Set a person's \Seen by entry id."""
    now = lock.modseq()
    _SET.insert(
        lock.conn, [(one, account_id, lock.mailbox_id, is_so, now) for one, is_so in seen.items()]
    )


def copy_seen(lock: MailboxLock, copies: dict[int, int]) -> None:
    """Give copies of entries, by the original's id, all that each person has seen."""
    now = lock.modseq()
    found = seen_of(lock, list(copies))
    rows = [(copies[one.entry_id], one.account_id, lock.mailbox_id, one.seen, now) for one in found]
    _SET.insert(lock.conn, rows)


def forget_seen(lock: MailboxLock, entry_ids: Sequence[int]) -> None:
    """Delete persons' rows of expunged entries."""
    if lock.private_seen:
        lock.conn.execute(_FORGET, {"entries": entry_ids})


def set_private_seen(lock: MailboxLock, *, private: bool) -> None:
    r"""Make \Seen private, or shared again: seen is then all that anybody has seen."""
    if lock.private_seen == private:
        return
    state = update(mailbox_state).where(mailbox_state.c.mailbox_id == lock.mailbox_id)
    lock.conn.execute(state.values(private_seen=private))
    now = lock.modseq()
    if not private:
        asked = {"mailbox": lock.mailbox_id, "now": now}
        lock.conn.execute(_SHARE, asked)
        lock.conn.execute(_TOUCH, asked)
        lock.conn.execute(_RECOUNT, asked)
    lock.conn.execute(delete(seen_by_person).where(_S.mailbox_id == lock.mailbox_id))
    lock.private_seen = private


_FORGET: Final = delete(seen_by_person).where(listed_numbers(_S.entry_id, "entries"))
_OWN: Final = _FM.mailbox_id == bindparam("mailbox")
_ROWS_OF = select(_S.entry_id).where(_S.mailbox_id == bindparam("mailbox"))
_SHARE: Final = (
    update(folder_messages)
    .where(_OWN, _FM.entry_id.in_(_ROWS_OF.where(_S.seen)))
    .values(flags=_FM.flags.bitwise_or(int(Flag.SEEN)))
)
_TOUCH: Final = (
    update(folder_messages).where(_OWN, _FM.entry_id.in_(_ROWS_OF)).values(modseq=bindparam("now"))
)
_UNSEEN = (
    select(func.count())
    .where(_FM.folder_id == folders.c.id, _FM.flags.bitwise_and(int(Flag.SEEN)) == 0)
    .scalar_subquery()
)
_RECOUNT: Final = (
    update(folders)
    .where(folders.c.mailbox_id == bindparam("mailbox"), folders.c.removed_modseq.is_(None))
    .values(unseen=_UNSEEN, messages_modseq=bindparam("now"))
)
