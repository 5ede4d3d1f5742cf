"""Counters of a mailbox for people: messages by folder, new mail, share of the quota."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from mailstore.folders.reads import read_state
from mailstore.folders.tree import list_folders
from mailstore.mail.entry_list import count_new
from mailstore.mail.quota import Quota, mailbox_quota
from mailstore.sealed.row_seal import RowSeal

from .folder_names import FolderNames


@dataclass(frozen=True, slots=True)
class FolderCounters:
    r"""Messages of a folder, those without the shared \Seen, and octets."""

    folder: str
    messages: int
    unseen: int
    octets: int


@dataclass(frozen=True, slots=True)
class MailboxCounters:
    """All messages of a mailbox; `new`: those of them that nobody has looked at yet."""

    messages: int
    new: int
    quota: Quota
    folders: Sequence[FolderCounters]


def mailbox_counters(
    conn: Connection, mailbox_id: int, seal: RowSeal, *, content: bool = False
) -> MailboxCounters:
    """Counters of a mailbox.  `content`: names of folders that a person has made are shown.

    Raises NotFound, KeyMissing, SealBroken.
    """
    found = list_folders(conn, mailbox_id, seal)
    names, new = FolderNames(found), count_new(conn, mailbox_id)
    return MailboxCounters(
        read_state(conn, mailbox_id).messages + new,
        new,
        mailbox_quota(conn, mailbox_id),
        [
            FolderCounters(
                names.shown(one.id, content=content), one.messages, one.unseen, one.octets
            )
            for one in found
        ],
    )
