"""Facts that a view of a mailbox takes and gives (`mailstore.mail.view`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailstore.folders.keywords import Keywords
from mailstore.folders.reads import FlagRow, FolderMessage, Vanished
from mailstore.folders.rows import UidPair
from mailstore.folders.tree import Folder
from mailstore.sealed.draft import Draft


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to append: its whole draft, names of flags and keywords, internal date."""

    id: str
    draft: Draft
    flags: tuple[str, ...] = ()
    internal_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """UIDs of appended messages, in their order, and the folder's UIDVALIDITY (RFC 4315)."""

    uid_validity: int
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transferred:
    """Copied or moved messages, and the target's UIDVALIDITY (COPYUID, RFC 4315)."""

    uid_validity: int
    pairs: tuple[UidPair, ...]


@dataclass(frozen=True, slots=True)
class FolderChanges:
    """Changes of a folder after a modification sequence, as of the state `modseq`.

    `flags`: by UID, plain tuples as `FlagRow`. `vanished`: UIDs that left the folder; None if that
    is not known so far back: then `flags` is of all messages, and whatever is not in it is gone.
    `assigned`: UIDs of all messages of the folder that a person has taken (`ASSIGNED`).
    """

    folder: Folder
    modseq: int
    keywords: Keywords
    flags: Sequence[FlagRow]
    vanished: tuple[int, ...] | None
    assigned: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class MailboxChanges:
    """Changes of a mailbox after a modification sequence, as of the state `modseq` (RFC 8620 §5.2).

    `complete` is False if the mailbox no longer knows so far back: then nothing else is told.
    """

    modseq: int
    complete: bool
    messages: tuple[FolderMessage, ...] = ()
    vanished: tuple[Vanished, ...] = ()
    folders: tuple[Folder, ...] = ()
    folders_removed: tuple[int, ...] = ()
