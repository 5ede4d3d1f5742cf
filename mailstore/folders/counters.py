"""Counters of a folder and of its mailbox, kept in step with their messages."""

from typing import NamedTuple

from sqlalchemy import bindparam, update

from mailstore.db.folder_schema import folders, mailbox_state
from mailstore.folders.lock import MailboxLock

_FOLDER = (
    update(folders)
    .where(folders.c.id == bindparam("folder"))
    .values(
        messages=folders.c.messages + bindparam("more"),
        octets=folders.c.octets + bindparam("size"),
        unseen=folders.c.unseen + bindparam("unread"),
        uid_next=folders.c.uid_next + bindparam("uids"),
        messages_modseq=bindparam("now"),
    )
)
_MAILBOX = (
    update(mailbox_state)
    .where(mailbox_state.c.mailbox_id == bindparam("mailbox"))
    .values(
        messages=mailbox_state.c.messages + bindparam("more"),
        octets=mailbox_state.c.octets + bindparam("size"),
    )
)


class Counted(NamedTuple):
    r"""Numbers of messages, octets and messages without \Seen that come; negative: they go.

    `uids`: UIDs given.
    """

    messages: int = 0
    octets: int = 0
    unseen: int = 0
    uids: int = 0


def count(lock: MailboxLock, folder_id: int, change: Counted) -> None:
    """Note a change of messages in a folder, with the transaction's modification sequence."""
    lock.conn.execute(
        _FOLDER,
        {
            "folder": folder_id,
            "more": change.messages,
            "size": change.octets,
            "unread": change.unseen,
            "uids": change.uids,
            "now": lock.modseq(),
        },
    )


def count_in_mailbox(lock: MailboxLock, messages: int, octets: int) -> None:
    """Note messages that come into a mailbox, or leave it; not those moved within it."""
    lock.conn.execute(_MAILBOX, {"mailbox": lock.mailbox_id, "more": messages, "size": octets})
