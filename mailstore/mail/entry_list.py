r"""Messages of a mailbox by facts of envelope and state, the newest first; nothing is placed.

For lists that a person looks through. Mail that nobody has looked at is in them, as mail of the
inbox without a UID. Functions take a connection in a transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from foundation.ins import PATIENT_DOMAIN
from foundation.unreadable_text import SEALED
from mailstore.db.folder_schema import folder_messages, seen_by_person
from mailstore.db.listed import listed_numbers
from mailstore.db.schema import entries, mailboxes, messages
from mailstore.db.sealed_columns import is_address, raw
from mailstore.folders.flags import Flag
from mailstore.mailboxes.usage import NOT_PLACED, of_new


@dataclass(frozen=True, slots=True)
class EntryFilter:
    r"""Messages to list; None or False: any.

    `folder_ids`: in one of these folders; `new`: or mail that nobody has looked at. `sender`: part
    of the envelope's, in any case; of a patient's, all or a part of the domain. `larger`,
    `smaller`: octets of the body, exclusive. `since`: arrived from then on; `until`: before then.
    `entry_ids`: among these entries.
    """

    folder_ids: Collection[int] | None = None
    new: bool = True
    unseen: bool = False
    flagged: bool = False
    sender: str = ""
    since: datetime | None = None
    until: datetime | None = None
    larger: int | None = None
    smaller: int | None = None
    entry_ids: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class ListedEntry:
    r"""An entry in a list; without folder and UID it is new mail.

    `flags`: as the person sees them, \Seen included where it is private.
    """

    id: int
    message_id: str
    sender: str
    blob: str
    size: int
    received_at: datetime
    folder_id: int | None
    uid: int | None
    flags: int
    keywords: int


class HeldEntry(NamedTuple):
    """An entry with the mailbox that holds it, and its address."""

    mailbox_id: int
    address: str
    entry: ListedEntry


_E, _M, _FM, _S = entries.c, messages.c, folder_messages.c, seen_by_person.c
_PLACE: Final = and_(
    _FM.mailbox_id == _E.mailbox_id, _FM.message_id == _E.message_id, _FM.entry_id == _E.id
)
# Rows exist only where \Seen is private.
_OWN_SEEN: Final = (
    select(_S.seen)
    .where(_S.entry_id == _E.id, _S.account_id == bindparam("account", type_=BigInteger))
    .scalar_subquery()
)
_SHARED_SEEN: Final = func.coalesce(_FM.flags, 0).bitwise_and(int(Flag.SEEN)) == int(Flag.SEEN)
_SEEN: Final = func.coalesce(_OWN_SEEN, _SHARED_SEEN)
_ENTRIES: Final = (
    select(
        _E.id,
        _E.message_id,
        _M.sender,
        _M.blob,
        _M.size,
        _M.received_at,
        _FM.folder_id,
        _FM.uid,
        func.coalesce(_FM.flags, 0).label("flags"),
        func.coalesce(_FM.keywords, 0).label("keywords"),
        _SEEN.label("seen"),
    )
    .join_from(entries, messages)
    .outerjoin(folder_messages, _PLACE)
)
_OF_MESSAGE: Final = (
    _ENTRIES.add_columns(_E.mailbox_id, mailboxes.c.address)
    .join(mailboxes, mailboxes.c.id == _E.mailbox_id)
    .where(_E.message_id == bindparam("message"))
    .order_by(_E.id)
)
_COUNT_NEW: Final = of_new(
    select(func.count())
    .select_from(entries)
    .where(_E.mailbox_id == bindparam("mailbox"), NOT_PLACED)
)
_NO_FILTER: Final = EntryFilter()


def list_newest(
    conn: Connection,
    mailbox_id: int,
    wanted: EntryFilter = _NO_FILTER,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int,
    account_id: int | None = None,
) -> list[ListedEntry]:
    r"""List up to `limit` messages by entry id, the highest first, between two ids, exclusive.

    `account_id`: the person whose \Seen counts where it is private.
    """
    query = _between(_filtered(wanted), after, before).order_by(_E.id.desc()).limit(limit)
    return [_entry(row) for row in conn.execute(query, _asked(mailbox_id, wanted, account_id))]


def count_listed(
    conn: Connection,
    mailbox_id: int,
    wanted: EntryFilter = _NO_FILTER,
    *,
    after: int = 0,
    before: int | None = None,
    account_id: int | None = None,
) -> int:
    """Number of messages that `list_newest` would list without a limit."""
    query = _between(_counted(wanted), after, before)
    return conn.scalar(query, _asked(mailbox_id, wanted, account_id)) or 0


def count_new(conn: Connection, mailbox_id: int) -> int:
    """Number of messages that nobody has looked at."""
    return conn.scalar(_COUNT_NEW, {"mailbox": mailbox_id}) or 0


def entries_of_message(conn: Connection, message_id: str) -> list[HeldEntry]:
    r"""Entries of a message in all mailboxes, by entry id; the shared \Seen."""
    rows = conn.execute(_OF_MESSAGE, {"message": message_id, "account": None})
    return [HeldEntry(row.mailbox_id, row.address, _entry(row)) for row in rows]


def _asked(mailbox_id: int, wanted: EntryFilter, account_id: int | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"mailbox": mailbox_id, "account": account_id}
    if wanted.folder_ids is not None:
        asked["folders"] = wanted.folder_ids
    if wanted.entry_ids is not None:
        asked["entries"] = wanted.entry_ids
    return asked


def _filtered(wanted: EntryFilter) -> Select[Any]:
    mine = _E.mailbox_id == bindparam("mailbox")
    return _ENTRIES.where(mine, *_of_state(wanted), *_of_envelope(wanted))


def _counted(wanted: EntryFilter) -> Select[Any]:
    """Count of messages; tables that no filter asks are left out, for a count reads each row."""
    state, envelope = _of_state(wanted), _of_envelope(wanted)
    query = select(func.count()).select_from(entries)
    if envelope:
        query = query.join(messages)
    if state:
        query = query.outerjoin(folder_messages, _PLACE)
    return query.where(_E.mailbox_id == bindparam("mailbox"), *state, *envelope)


def _of_state(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.folder_ids is not None:
        placed = listed_numbers(_FM.folder_id, "folders")
        found.append(or_(placed, _FM.folder_id.is_(None)) if wanted.new else placed)
    if wanted.unseen:
        found.append(~_SEEN)
    if wanted.flagged:
        found.append(_FM.flags.bitwise_and(int(Flag.FLAGGED)) != 0)
    if wanted.entry_ids is not None:
        found.append(listed_numbers(_E.id, "entries"))
    return found


def _of_envelope(wanted: EntryFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.sender:
        found.append(_has_sender(wanted.sender))
    if wanted.since is not None:
        found.append(_M.received_at >= wanted.since)
    if wanted.until is not None:
        found.append(_M.received_at < wanted.until)
    if wanted.larger is not None:
        found.append(_M.size > wanted.larger)
    if wanted.smaller is not None:
        found.append(_M.size < wanted.smaller)
    return found


def _has_sender(text: str) -> ColumnElement[bool]:
    """Whether an address has a part, in any case; a sealed one is found whole, or by its domain."""
    stored = raw(_M.sender)
    sealed = stored.startswith(SEALED, autoescape=True)
    found = [
        and_(~sealed, func.lower(stored).contains(text.lower(), autoescape=True)),
        is_address(_M.sender, text),
    ]
    local, at, domain = text.lower().rpartition("@")
    if not local and domain and f"{at}{domain}" in f"{at}{PATIENT_DOMAIN}":
        found.append(and_(sealed, stored.endswith(f"@{PATIENT_DOMAIN}", autoescape=True)))
    return or_(*found)


def _between(query: Select[Any], after: int, before: int | None) -> Select[Any]:
    query = query.where(_E.id > after)
    return query if before is None else query.where(_E.id < before)


def _entry(row: Any) -> ListedEntry:
    flags = row.flags | Flag.SEEN if row.seen else row.flags & ~Flag.SEEN
    return ListedEntry(
        id=row.id,
        message_id=row.message_id,
        sender=row.sender,
        blob=row.blob,
        size=row.size,
        received_at=row.received_at,
        folder_id=row.folder_id,
        uid=row.uid,
        flags=int(flags),
        keywords=row.keywords,
    )
