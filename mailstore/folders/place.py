"""New mail gets its folder, UID and modification sequence when somebody looks.

A delivery inserts a row of `entries` and no more; it waits for nobody. On PostgreSQL an entry with
a lower id may become visible later: it is then placed later, with a higher UID.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    update,
)

from foundation.failpoints import failpoint
from mailstore.db.folder_schema import folder_messages, folders
from mailstore.db.schema import entries, messages
from mailstore.db.team_schema import message_answers
from mailstore.folders.counters import Counted, count, count_in_mailbox
from mailstore.folders.flags import Flag
from mailstore.folders.lock import MailboxLock
from mailstore.folders.tree import Role
from mailstore.mailboxes.usage import NOT_PLACED, OCTETS, of_new

BATCH: Final = 5_000  # entries placed under one lock

_E, _M, _FM = entries.c, messages.c, folder_messages.c
_ANY_NEW = select(
    of_new(select(_E.id).where(_E.mailbox_id == bindparam("mailbox"), NOT_PLACED)).exists()
)
_INBOX = select(folders.c.id, folders.c.uid_next).where(
    folders.c.mailbox_id == bindparam("mailbox"), folders.c.role == Role.INBOX.value
)
_BATCH = of_new(
    select(_E.id, _E.message_id, OCTETS.label("size"), _M.received_at, _E.delivered_at)
    .join_from(entries, messages)
    .where(_E.mailbox_id == bindparam("mailbox"), NOT_PLACED)
    .order_by(_E.id)
    .limit(bindparam("most"))
).subquery()
# Linked to an answer before anybody looked (`mailstore.teams.answers`).
_ANSWERED = exists().where(
    message_answers.c.mailbox_id == bindparam("mailbox", type_=BigInteger),
    message_answers.c.message_id == _BATCH.c.message_id,
)
_PLACED = insert(folder_messages).from_select(
    [
        "folder_id",
        "uid",
        "mailbox_id",
        "entry_id",
        "message_id",
        "flags",
        "keywords",
        "modseq",
        "added_modseq",
        "size",
        "internal_date",
        "saved_at",
    ],
    select(
        bindparam("folder", type_=BigInteger),
        bindparam("first", type_=BigInteger) + func.row_number().over(order_by=_BATCH.c.id) - 1,
        bindparam("mailbox", type_=BigInteger),
        _BATCH.c.id,
        _BATCH.c.message_id,
        case((_ANSWERED, int(Flag.ANSWERED)), else_=literal(0, BigInteger)),
        literal(0, BigInteger),
        bindparam("now", type_=BigInteger),
        bindparam("now", type_=BigInteger),
        _BATCH.c.size,
        _BATCH.c.received_at,
        _BATCH.c.delivered_at,
    ),
)
_NEW_UIDS = (_FM.folder_id == bindparam("folder"), _FM.uid >= bindparam("first"))
_SUM = select(func.count(), func.coalesce(func.sum(_FM.size), 0)).where(*_NEW_UIDS)
_DONE = (
    update(entries).where(_E.id.in_(select(_FM.entry_id).where(*_NEW_UIDS))).values(placed=true())
)


def has_new(conn: Connection, mailbox_id: int) -> bool:
    """True if a mailbox has mail that nobody has looked at."""
    return bool(conn.scalar(_ANY_NEW, {"mailbox": mailbox_id}))


def place_batch(lock: MailboxLock, limit: int = BATCH) -> int:
    """Place up to `limit` new entries into the inbox, the oldest first; their number.

    The mailbox must have its special folders.
    """
    if not has_new(lock.conn, lock.mailbox_id):
        return 0
    inbox = lock.conn.execute(_INBOX, {"mailbox": lock.mailbox_id}).one()
    where = {"folder": inbox.id, "first": inbox.uid_next}
    what = {"mailbox": lock.mailbox_id, "most": limit, "now": lock.modseq()}
    lock.conn.execute(_PLACED, {**where, **what})
    found, octets = lock.conn.execute(_SUM, where).one()
    lock.conn.execute(_DONE, where)
    # SQLite and PostgreSQL sum to other types.
    count(lock, inbox.id, Counted(found, int(octets), found, found))
    count_in_mailbox(lock, found, int(octets))
    failpoint("folders.placed")
    return int(found)
