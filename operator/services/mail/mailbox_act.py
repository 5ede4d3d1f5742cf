"""Beginning of a person's act on folders and messages of a mailbox, in one transaction.

It needs the right to act; the Unix user may all. New mail is placed before, as for each reader.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mailstore.audit.event import Fact, Result
from mailstore.credentials.credentials import note_use
from mailstore.errors import NotFound
from mailstore.folders.lock import MailboxLock, lock_mailbox
from mailstore.folders.tree import Folder, Role, list_folders
from mailstore.mail.presence import check_present
from mailstore.mail.view import open_mailbox
from mailstore.rights.model import Action, MailboxFacts
from mailstore.sealed.row_seal import RowSeal

from ...assembly.storage import row_seal
from ..acts import Act, ActTransaction
from .folder_names import FolderNames


@dataclass(frozen=True, slots=True)
class MailboxAct:
    """An act in its transaction: the mailbox is locked, and the right to it was asked."""

    act: Act
    change: ActTransaction
    address: str
    mailbox: MailboxFacts
    lock: MailboxLock
    seal: RowSeal
    folders: FolderNames

    def special(self, role: Role) -> Folder:
        """A special folder, which each mailbox has that was looked at.  Raises NotFound."""
        found = self.folders.special(role)
        if found is None:
            raise NotFound(f"the mailbox has no folder for {role}")
        return found

    def named(self, folder_id: int) -> str:
        """The folder as the audit trail has it: names that a person has given are not in it."""
        return self.folders.shown(folder_id, content=False)

    def audit(self, event: str, message: str | None = None, **facts: Fact) -> None:
        """Add the audit row."""
        self.change.audit(
            event,
            mailbox=self.address,
            message=message,
            subject=None,
            tenant=self.mailbox.tenant_id,
            result=Result.DONE,
            **facts,
        )


@contextmanager
def begin(act: Act, address: str) -> Iterator[MailboxAct]:
    """Lock a mailbox for an act; all is committed at the end of the block, or nothing.

    Raises NotAllowed, StoreUnavailable; NotFound for the mailbox.
    """
    store, seal = act.store, row_seal(act.store)
    with act.read() as seen:
        mailbox_id = seen.reach(address, Action.ACT).id
    # In transactions of its own: a first look may place many messages.
    open_mailbox(store, mailbox_id, seal, act.clock).look()
    with act.write() as change:
        mailbox = change.reach(address, Action.ACT)
        if act.proof is not None:
            note_use(change.connection, act.proof, mailbox.id)  # the mailbox is in use
        lock = lock_mailbox(change.connection, mailbox.id)
        check_present(change.connection, mailbox.id)
        folders = FolderNames(list_folders(change.connection, mailbox.id, seal))
        yield MailboxAct(act, change, address, mailbox, lock, seal, folders)
