"""Flags and keywords of messages, set, added or removed (RFC 9051 §6.4.6, RFC 7162 §3.1.3)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import bindparam, select, update

from mailstore.db.folder_schema import folder_messages
from mailstore.folders.counters import Counted, count
from mailstore.folders.flags import Bits, Flag, FlagMode, Masks, masks
from mailstore.folders.lock import MailboxLock
from mailstore.folders.private_seen import seen_of, set_seen
from mailstore.folders.rows import BY_UIDS, uid_next

_FM = folder_messages.c
_CHANGE: Final = (
    update(folder_messages)
    .where(*BY_UIDS)
    .values(
        flags=_FM.flags.bitwise_and(bindparam("keep_flags")).bitwise_or(bindparam("put_flags")),
        keywords=_FM.keywords.bitwise_and(bindparam("keep_keywords")).bitwise_or(
            bindparam("put_keywords")
        ),
        modseq=bindparam("now"),
    )
)
_FACTS: Final = (
    select(_FM.uid, _FM.entry_id, _FM.flags, _FM.keywords, _FM.modseq)
    .where(*BY_UIDS)
    .order_by(_FM.uid)
)


class FlagFacts(NamedTuple):
    """A message whose flags are to be changed."""

    uid: int
    entry_id: int
    flags: int
    keywords: int
    modseq: int


@dataclass(frozen=True, slots=True)
class FlagsSet:
    """UIDs whose flags are set as asked, and those that were `modified` since, left alone."""

    done: tuple[int, ...]
    modified: tuple[int, ...] = ()


def set_flags(
    lock: MailboxLock,
    folder_id: int,
    uids: Collection[int],
    mode: FlagMode,
    bits: Bits,
    *,
    unchanged_since: int | None = None,
    account_id: int | None = None,
) -> FlagsSet:
    r"""Change flags of the messages with these UIDs; absent ones are passed over.

    `unchanged_since`: messages with a higher modification sequence are left alone. `account_id`:
    the person, whose \Seen it is where that is private. Messages that have the flags already keep
    their modification sequence. Raises NotFound for the folder.
    """
    uid_next(lock, folder_id)
    found = lock.conn.execute(_FACTS, {"folder": folder_id, "uids": uids})
    rows = [FlagFacts(*row) for row in found]
    own = _OwnSeen(lock, account_id, rows)
    change = masks(mode, bits)
    modified: tuple[int, ...] = ()
    if unchanged_since is not None:
        late = {row.uid for row in rows if own.modseq(row) > unchanged_since}
        modified = tuple(row.uid for row in rows if row.uid in late)
        rows = [row for row in rows if row.uid not in late]
    own.set(folder_id, rows, change)
    if own.apart:
        change = _without_seen(change)
    _set_shared(lock, folder_id, rows, change)
    return FlagsSet(tuple(row.uid for row in rows), modified)


def _set_shared(lock: MailboxLock, folder_id: int, rows: list[FlagFacts], change: Masks) -> None:
    changed = [
        row for row in rows if change.apply(row.flags, row.keywords) != (row.flags, row.keywords)
    ]
    if not changed:
        return
    lock.conn.execute(
        _CHANGE,
        {
            "folder": folder_id,
            "uids": [row.uid for row in changed],
            "keep_flags": change.keep.flags,
            "put_flags": change.put.flags,
            "keep_keywords": change.keep.keywords,
            "put_keywords": change.put.keywords,
            "now": lock.modseq(),
        },
    )
    before = sum(not row.flags & Flag.SEEN for row in changed)
    after = sum(not change.apply(row.flags, 0).flags & Flag.SEEN for row in changed)
    count(lock, folder_id, Counted(unseen=after - before))


def _without_seen(change: Masks) -> Masks:
    return Masks(
        change.keep._replace(flags=change.keep.flags | Flag.SEEN),
        change.put._replace(flags=change.put.flags & ~Flag.SEEN),
    )


class _OwnSeen:
    r"""A person's \Seen of some messages, where it is private."""

    def __init__(self, lock: MailboxLock, account_id: int | None, rows: list[FlagFacts]) -> None:
        self.apart = lock.private_seen and account_id is not None
        self._lock, self._account_id = lock, account_id
        found = seen_of(lock, [row.entry_id for row in rows]) if self.apart else []
        self._own = {one.entry_id: one for one in found if one.account_id == account_id}

    def modseq(self, row: FlagFacts) -> int:
        """Modification sequence of the message, as the person sees it."""
        own = self._own.get(row.entry_id)
        return row.modseq if own is None else max(row.modseq, own.modseq)

    def set(self, folder_id: int, rows: list[FlagFacts], change: Masks) -> None:
        r"""Set \Seen where the change says so."""
        if not self.apart or self._account_id is None:
            return
        seen: dict[int, bool] = {}
        for row in rows:
            own = self._own.get(row.entry_id)
            before = bool(row.flags & Flag.SEEN) if own is None else own.seen
            after = bool(change.apply(Flag.SEEN if before else 0, 0).flags & Flag.SEEN)
            if after != before:
                seen[row.entry_id] = after
        if seen:
            set_seen(self._lock, self._account_id, seen)
            # The folder's messages have changed, for this person.
            count(self._lock, folder_id, Counted())
