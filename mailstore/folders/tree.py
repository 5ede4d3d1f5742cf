"""The tree of a mailbox's folders: listing, and create, rename, move, remove, subscribe.

Names are sealed; siblings are compared by keyed hashes, under the mailbox's lock. A folder's
UIDVALIDITY is the modification sequence of its making, which never comes again in a mailbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from mailstore.db.folder_schema import folders
from mailstore.errors import Conflict, InvalidState, LimitReached, NotFound
from mailstore.folders.lock import MailboxLock
from mailstore.folders.names import check_name
from mailstore.sealed.row_seal import RowSeal

MAX_FOLDERS: Final = 1_000  # in a mailbox
MAX_DEPTH: Final = 10  # folders from the top to the innermost
_NO_HASH: Final = bytes(16)


class Role(StrEnum):
    """Use of a folder (RFC 6154 §2), at most one folder each; the inbox is one too."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    TRASH = "trash"
    JUNK = "junk"
    ARCHIVE = "archive"


# Made when somebody looks at a mailbox for the first time.
SPECIAL: Final = {
    Role.INBOX: "INBOX",
    Role.SENT: "Sent",
    Role.DRAFTS: "Drafts",
    Role.TRASH: "Trash",
    Role.JUNK: "Junk",
    Role.ARCHIVE: "Archive",
}


@dataclass(frozen=True, slots=True)
class Folder:
    r"""A folder with its counters; `name` is the last part, `parent_id` None at the top.

    `modseq` is of the folder itself, `messages_modseq` the highest of a message in it. `unseen`
    counts messages without \Seen, the person's own where it is private.
    """

    id: int
    parent_id: int | None
    role: Role | None
    name: str
    uid_validity: int
    uid_next: int
    subscribed: bool
    modseq: int
    messages_modseq: int
    messages: int
    octets: int
    unseen: int


_F = folders.c
# Built once: SQLAlchemy's preparation of a statement takes longer than its execution.
_PRESENT = (
    select(
        _F.id,
        _F.parent_id,
        _F.role,
        _F.name,
        _F.uid_validity,
        _F.uid_next,
        _F.subscribed,
        _F.modseq,
        _F.messages_modseq,
        _F.messages,
        _F.octets,
        _F.unseen,
    )
    .where(_F.mailbox_id == bindparam("mailbox"), _F.removed_modseq.is_(None))
    .order_by(_F.id)
)
_ONE = _PRESENT.where(_F.id == bindparam("folder"))
_ID = _ONE.with_only_columns(_F.id).order_by(None)
# Special folders come first and stay: any folder tells of them.
_FIRST = select(_F.id).where(_F.mailbox_id == bindparam("mailbox")).limit(1)
_NODES = (
    select(_F.id, _F.parent_id, _F.role, _F.name_hash)
    .where(_F.mailbox_id == bindparam("mailbox"), _F.removed_modseq.is_(None))
    .order_by(_F.id)
)


def list_folders(conn: Connection, mailbox_id: int, seal: RowSeal) -> list[Folder]:
    """All folders of a mailbox, the oldest first. Raises KeyMissing, SealBroken."""
    rows = conn.execute(_PRESENT, {"mailbox": mailbox_id})
    return [_folder(row, mailbox_id, seal) for row in rows]


def get_folder(conn: Connection, mailbox_id: int, folder_id: int, seal: RowSeal) -> Folder:
    """Find a folder of a mailbox. Raises NotFound, KeyMissing, SealBroken."""
    asked = {"mailbox": mailbox_id, "folder": folder_id}
    row = conn.execute(_ONE, asked).one_or_none()
    if row is None:
        raise no_folder(folder_id)
    return _folder(row, mailbox_id, seal)


def uid_validity(conn: Connection, mailbox_id: int, folder_id: int) -> int:
    """UIDVALIDITY of a folder (RFC 9051 §2.3.1.1). Raises NotFound."""
    found = conn.execute(_ONE, {"mailbox": mailbox_id, "folder": folder_id}).one_or_none()
    if found is None:
        raise no_folder(folder_id)
    return int(found.uid_validity)


def has_folders(conn: Connection, mailbox_id: int) -> bool:
    """True once the special folders of a mailbox were made."""
    return conn.scalar(_FIRST, {"mailbox": mailbox_id}) is not None


def check_folder(conn: Connection, mailbox_id: int, folder_id: int) -> None:
    """Raise NotFound for a folder that is not, or no longer, in the mailbox."""
    if conn.scalar(_ID, {"mailbox": mailbox_id, "folder": folder_id}) is None:
        raise no_folder(folder_id)


def no_folder(folder_id: int) -> NotFound:
    """The error for a folder that is not, or no longer, in the mailbox."""
    return NotFound(f"the mailbox has no folder {folder_id}")


def make_special_folders(lock: MailboxLock, seal: RowSeal, *, now: datetime) -> None:
    """Make the special folders of a mailbox that has no folder yet."""
    if not has_folders(lock.conn, lock.mailbox_id):
        for role, name in SPECIAL.items():
            _insert(lock, seal, name, None, role, now)


def create_folder(
    lock: MailboxLock, seal: RowSeal, name: str, parent_id: int | None = None, *, now: datetime
) -> int:
    """Make a folder within another, or at the top; returns its id.

    Raises InvalidName; NotFound for the parent; Conflict if it has a folder of this name;
    LimitReached.
    """
    tree = _Tree(lock)
    checked = check_name(name, at_top=parent_id is None)
    tree.check_place(seal, checked, parent_id)
    if len(tree.nodes) >= MAX_FOLDERS:
        raise LimitReached(f"a mailbox has {MAX_FOLDERS} folders at most")
    if tree.depth(parent_id) >= MAX_DEPTH:
        raise LimitReached(f"folders are {MAX_DEPTH} deep at most")
    return _insert(lock, seal, checked, parent_id, None, now)


def rename_folder(
    lock: MailboxLock, seal: RowSeal, folder_id: int, name: str, parent_id: int | None
) -> None:
    """Give a folder another name and place; folders in it come along.

    Raises as `create_folder`; InvalidState for the inbox, and for a place within the folder.
    """
    tree = _Tree(lock)
    if tree.get(folder_id).role == Role.INBOX:
        raise InvalidState("the inbox keeps its name and its place")
    checked = check_name(name, at_top=parent_id is None)
    tree.check_place(seal, checked, parent_id, moved=folder_id)
    if folder_id in tree.path(parent_id):
        raise InvalidState("a folder cannot be moved into itself")
    if tree.depth(parent_id) + tree.height(folder_id) > MAX_DEPTH:
        raise LimitReached(f"folders are {MAX_DEPTH} deep at most")
    bound = folder_bound(lock.mailbox_id)
    _update(
        lock,
        folder_id,
        parent_id=parent_id,
        name=seal.seal(checked, bound),
        name_hash=seal.hash(checked, bound),
    )


def set_subscribed(lock: MailboxLock, folder_id: int, *, subscribed: bool) -> None:
    """Subscribe to a folder, or no longer (RFC 9051 §6.3.7). Raises NotFound."""
    _Tree(lock).get(folder_id)
    _update(lock, folder_id, subscribed=subscribed)


def check_removable(lock: MailboxLock, folder_id: int) -> None:
    """Raise NotFound; InvalidState for a special folder, Conflict for one with folders in it."""
    tree = _Tree(lock)
    if tree.get(folder_id).role is not None:
        raise InvalidState("the inbox and the other special folders cannot be removed")
    if any(node.parent_id == folder_id for node in tree.nodes.values()):
        raise Conflict("the folder has folders in it: remove them first (RFC 9051 §6.3.5)")


def remove_row(lock: MailboxLock, folder_id: int) -> None:
    """Remove an empty folder; its row stays without the name, for clients to catch up."""
    _update(
        lock,
        folder_id,
        parent_id=None,
        name=b"",
        name_hash=_NO_HASH,
        removed_modseq=lock.modseq(),
    )


class _Tree:
    """The folders of a locked mailbox, by id."""

    def __init__(self, lock: MailboxLock) -> None:
        self._mailbox_id = lock.mailbox_id
        rows = lock.conn.execute(_NODES, {"mailbox": lock.mailbox_id})
        self.nodes: dict[int, Row[*tuple[Any, ...]]] = {row.id: row for row in rows}

    def get(self, folder_id: int) -> Row[*tuple[Any, ...]]:
        """A folder. Raises NotFound."""
        if folder_id not in self.nodes:
            raise no_folder(folder_id)
        return self.nodes[folder_id]

    def path(self, folder_id: int | None) -> Sequence[int]:
        """A folder and those it is in, the innermost first; none for the top."""
        found: list[int] = []
        while folder_id is not None:
            found.append(folder_id)
            folder_id = self.get(folder_id).parent_id
        return found

    def depth(self, folder_id: int | None) -> int:
        """Number of folders down to this one; 0 for the top. Raises NotFound."""
        return len(self.path(folder_id))

    def height(self, folder_id: int) -> int:
        """Number of folders from this one down to the innermost in it."""
        above = self.depth(folder_id) - 1
        inside = (path for one in self.nodes if folder_id in (path := self.path(one)))
        return max(map(len, inside)) - above

    def check_place(
        self, seal: RowSeal, name: str, parent_id: int | None, moved: int | None = None
    ) -> None:
        """Raise NotFound for the parent, Conflict for a name that another folder there has."""
        if parent_id is not None:
            self.get(parent_id)
        hashes = set(seal.hashes(name, folder_bound(self._mailbox_id)))
        for node in self.nodes.values():
            same_place = node.parent_id == parent_id and node.id != moved
            if same_place and bytes(node.name_hash) in hashes:
                raise Conflict("a folder of this name is there already")


def _insert(
    lock: MailboxLock,
    seal: RowSeal,
    name: str,
    parent_id: int | None,
    role: Role | None,
    now: datetime,
) -> int:
    bound = folder_bound(lock.mailbox_id)
    made = insert(folders).values(
        mailbox_id=lock.mailbox_id,
        parent_id=parent_id,
        role=None if role is None else role.value,
        name=seal.seal(name, bound),
        name_hash=seal.hash(name, bound),
        uid_validity=lock.modseq(),
        uid_next=1,
        subscribed=True,
        created_at=now,
        modseq=lock.modseq(),
        messages_modseq=lock.modseq(),
        messages=0,
        octets=0,
        unseen=0,
    )
    return int(lock.conn.execute(made.returning(folders.c.id)).scalar_one())


def _update(lock: MailboxLock, folder_id: int, **values: Any) -> None:
    changed = update(folders).where(_F.id == folder_id)
    lock.conn.execute(changed.values(modseq=lock.modseq(), **values))


def _folder(row: Row[*tuple[Any, ...]], mailbox_id: int, seal: RowSeal) -> Folder:
    found = row._asdict()
    found["role"] = None if row.role is None else Role(row.role)
    found["name"] = seal.open(row.name, folder_bound(mailbox_id))
    return Folder(**found)


def folder_bound(mailbox_id: int) -> bytes:
    """Facts that the names of a mailbox's folders are bound to."""
    return b"folder of %d" % mailbox_id
