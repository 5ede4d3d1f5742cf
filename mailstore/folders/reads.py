r"""Reads of a mailbox's state: flags, messages, changes since a modification sequence.

Each function reads one moment if its caller keeps the snapshot (`mailstore.db.dialect`). Where
\Seen is private, `account_id` says whose is shown.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    func,
    select,
    union,
)

from mailstore.db.folder_schema import (
    expunged,
    folder_messages,
    folders,
    mailbox_state,
    seen_by_person,
)
from mailstore.db.listed import listed_numbers, listed_texts
from mailstore.db.schema import entries
from mailstore.folders.flags import ALL_BITS, Flag


class FlagRow(NamedTuple):
    """Flags of a message; a plain tuple of these is read for each of many messages."""

    uid: int
    flags: int
    keywords: int
    modseq: int


class FolderMessage(NamedTuple):
    """A message in a folder: flags as bits, octets as its reader gets them, times."""

    folder_id: int
    uid: int
    entry_id: int
    message_id: str
    flags: int
    keywords: int
    modseq: int
    added_modseq: int
    size: int
    internal_date: datetime
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class MailboxState:
    """State of a mailbox at a moment; new mail that nobody has looked at is not in it.

    `floor`: messages that left the mailbox are known after this modification sequence.
    """

    modseq: int = 0
    floor: int = 0
    messages: int = 0
    octets: int = 0
    private_seen: bool = False


class Vanished(NamedTuple):
    """A message that left a folder: expunged, or moved to another."""

    folder_id: int
    uid: int
    message_id: str
    modseq: int


def read_state(conn: Connection, mailbox_id: int) -> MailboxState:
    """State of a mailbox."""
    row = conn.execute(_STATE, {"mailbox": mailbox_id}).one_or_none()
    if row is None:
        return MailboxState()
    return MailboxState(*row[:4], bool(row.private_seen))


def flags_since(
    conn: Connection,
    mailbox_id: int,
    folder_id: int,
    since: int = 0,
    account_id: int | None = None,
) -> Sequence[FlagRow]:
    """Flags of messages changed after a modification sequence (0: of all), by UID."""
    asked = {"mailbox": mailbox_id, "folder": folder_id, "since": since, "account": account_id}
    found = conn.execute(_FLAGS[account_id is not None, since > 0], asked)
    # The driver's tuples, as SQLAlchemy's rows take as long again as the reading.
    return cast("Sequence[FlagRow]", found.cursor.fetchall())


def vanished_since(conn: Connection, mailbox_id: int, folder_id: int, since: int) -> list[int]:
    """UIDs that left a folder after a modification sequence, not below the floor."""
    asked = {"mailbox": mailbox_id, "folder": folder_id, "since": since}
    return list(conn.scalars(_VANISHED_UIDS, asked))


def messages_by_uid(
    conn: Connection,
    folder_id: int,
    uids: Collection[int] | None = None,
    account_id: int | None = None,
) -> list[FolderMessage]:
    """Messages of a folder by UID: those of a list, or all."""
    asked = {"folder": folder_id, "uids": uids or (), "account": account_id}
    rows = conn.execute(_BY_UID[account_id is not None, uids is not None], asked)
    return [FolderMessage(*row) for row in rows]


def messages_by_id(
    conn: Connection,
    mailbox_id: int,
    message_ids: Collection[str],
    account_id: int | None = None,
) -> list[FolderMessage]:
    """All entries of these messages in a mailbox, copies included."""
    asked = {"mailbox": mailbox_id, "messages": message_ids, "account": account_id}
    rows = conn.execute(_BY_ID[account_id is not None], asked)
    return [FolderMessage(*row) for row in rows]


def messages_changed(
    conn: Connection,
    mailbox_id: int,
    since: int,
    limit: int | None = None,
    account_id: int | None = None,
) -> list[FolderMessage]:
    """Messages of a mailbox changed after a modification sequence, the lowest first."""
    asked = {"mailbox": mailbox_id, "since": since, "account": account_id}
    rows = conn.execute(_CHANGED[account_id is not None].limit(limit), asked)
    return [FolderMessage(*row) for row in rows]


def vanished_in_mailbox(conn: Connection, mailbox_id: int, since: int) -> list[Vanished]:
    """Messages that left a folder after a modification sequence, the lowest first."""
    rows = conn.execute(_VANISHED, {"mailbox": mailbox_id, "since": since})
    return [Vanished(*row) for row in rows]


def folders_removed(conn: Connection, mailbox_id: int, since: int) -> list[int]:
    """Ids of folders removed after a modification sequence."""
    return list(conn.scalars(_REMOVED, {"mailbox": mailbox_id, "since": since}))


def own_unseen(conn: Connection, mailbox_id: int, account_id: int) -> dict[int, int]:
    r"""Number of messages without a person's \Seen, by folder id; where it is private."""
    rows = conn.execute(_OWN_UNSEEN, {"mailbox": mailbox_id, "account": account_id})
    return {row[0]: row[1] for row in rows}


_FM, _S, _X = folder_messages.c, seen_by_person.c, expunged.c
_MAILBOX: Final = _FM.mailbox_id == bindparam("mailbox")
_FOLDER: Final = _FM.folder_id == bindparam("folder")
# Not by the key of the folder, but by the index on what changed in the mailbox.
_IN_FOLDER: Final = _FM.folder_id + 0 == bindparam("folder")
_SINCE: Final = _FM.modseq > bindparam("since", type_=BigInteger)
_OWN: Final = folder_messages.outerjoin(
    seen_by_person,
    and_(_S.entry_id == _FM.entry_id, _S.account_id == bindparam("account", type_=BigInteger)),
)
_OWN_FLAGS: Final = case(
    (_S.seen.is_(None), _FM.flags),
    (_S.seen, _FM.flags.bitwise_or(int(Flag.SEEN))),
    else_=_FM.flags.bitwise_and(ALL_BITS & ~Flag.SEEN),
)
_OWN_MODSEQ: Final = case((_S.modseq > _FM.modseq, _S.modseq), else_=_FM.modseq)
# Entries of which the person's \Seen alone may have changed.
_OWN_CHANGED: Final = (
    select(_FM.folder_id, _FM.uid)
    .join_from(seen_by_person, entries, entries.c.id == _S.entry_id)
    .join(
        folder_messages,
        and_(_MAILBOX, _FM.message_id == entries.c.message_id, _FM.entry_id == entries.c.id),
    )
    .where(
        _S.mailbox_id == bindparam("mailbox"),
        _S.account_id == bindparam("account", type_=BigInteger),
        _S.modseq > bindparam("since", type_=BigInteger),
    )
)


def _read(columns: Sequence[ColumnElement[Any]], *, own: bool) -> Select[Any]:
    """Select columns of messages, with the person's own flags or the shared ones."""
    if not own:
        return select(*columns).select_from(folder_messages)
    instead = {"flags": _OWN_FLAGS.label("flags"), "modseq": _OWN_MODSEQ.label("modseq")}
    return select(*(instead.get(one.key or "", one) for one in columns)).select_from(_OWN)


_FLAG_COLUMNS: Final = (_FM.uid, _FM.flags, _FM.keywords, _FM.modseq)
_COLUMNS: Final = tuple(_FM[name] for name in FolderMessage._fields)
_CHANGED_UIDS = union(
    select(_FM.uid).where(_MAILBOX, _IN_FOLDER, _SINCE),
    _OWN_CHANGED.with_only_columns(_FM.uid).where(_IN_FOLDER),
)
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution. By: own
# \Seen, changes alone.
_FLAGS: Final = {
    (False, False): _read(_FLAG_COLUMNS, own=False).where(_FOLDER).order_by(_FM.uid),
    (False, True): _read(_FLAG_COLUMNS, own=False)
    .where(_MAILBOX, _IN_FOLDER, _SINCE)
    .order_by(_FM.uid),
    (True, False): _read(_FLAG_COLUMNS, own=True).where(_FOLDER).order_by(_FM.uid),
    (True, True): _read(_FLAG_COLUMNS, own=True)
    .where(_FOLDER, _FM.uid.in_(_CHANGED_UIDS))
    .order_by(_FM.uid),
}
# By: own \Seen, a list of UIDs.
_BY_UID: Final = {
    (own, some): _read(_COLUMNS, own=own)
    .where(_FOLDER, *([listed_numbers(_FM.uid, "uids")] if some else []))
    .order_by(_FM.uid)
    for own in (False, True)
    for some in (False, True)
}
_BY_ID: Final = [
    _read(_COLUMNS, own=own)
    .where(_MAILBOX, listed_texts(_FM.message_id, "messages"))
    .order_by(_FM.folder_id, _FM.uid)
    for own in (False, True)
]
_ALL_CHANGED = union(
    select(_FM.folder_id, _FM.uid).where(_MAILBOX, _SINCE), _OWN_CHANGED
).subquery()
_CHANGED: Final = [
    _read(_COLUMNS, own=False).where(_MAILBOX, _SINCE).order_by(_FM.modseq, _FM.entry_id),
    select(*_read(_COLUMNS, own=True).selected_columns)
    .select_from(
        _OWN.join(
            _ALL_CHANGED,
            and_(_ALL_CHANGED.c.folder_id == _FM.folder_id, _ALL_CHANGED.c.uid == _FM.uid),
        )
    )
    .order_by(_OWN_MODSEQ, _FM.entry_id),
]
_STATE: Final = select(
    mailbox_state.c.modseq,
    mailbox_state.c.floor_modseq,
    mailbox_state.c.messages,
    mailbox_state.c.octets,
    mailbox_state.c.private_seen,
).where(mailbox_state.c.mailbox_id == bindparam("mailbox"))
_LEFT = (_X.mailbox_id == bindparam("mailbox"), _X.modseq > bindparam("since", type_=BigInteger))
_VANISHED_UIDS: Final = (
    select(_X.uid).where(*_LEFT, _X.folder_id + 0 == bindparam("folder")).order_by(_X.uid)
)
_VANISHED: Final = (
    select(_X.folder_id, _X.uid, _X.message_id, _X.modseq).where(*_LEFT).order_by(_X.modseq)
)
_REMOVED: Final = select(folders.c.id).where(
    folders.c.mailbox_id == bindparam("mailbox"),
    folders.c.removed_modseq > bindparam("since", type_=BigInteger),
)
_OWN_UNSEEN: Final = (
    select(_FM.folder_id, func.count())
    .select_from(_OWN)
    .where(_MAILBOX, _OWN_FLAGS.bitwise_and(int(Flag.SEEN)) == 0)
    .group_by(_FM.folder_id)
)
