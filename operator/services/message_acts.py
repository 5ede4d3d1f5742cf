r"""A person's acts on messages in a mailbox: permitted, done and recorded as one transaction.

They need the right to act; the Unix user may all. New mail is placed before, as for each reader.
All raise NotAllowed, StoreUnavailable; NotFound for the mailbox, for a message that it has not,
and for a folder; InvalidState if the message is in several folders and none is named by `within`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mailstore.audit.event import Fact, Result
from mailstore.credentials.credentials import note_use
from mailstore.errors import InvalidState, NotFound
from mailstore.folders import copy_move, expunge, reads, set_flags
from mailstore.folders.flags import Bits, FlagMode, split_names
from mailstore.folders.keywords import find_keyword_bits, keyword_bits
from mailstore.folders.lock import MailboxLock, lock_mailbox
from mailstore.folders.reads import FolderMessage
from mailstore.folders.tree import Folder, Role, list_folders
from mailstore.mail.view import check_present, open_mailbox
from mailstore.rights.model import Action, MailboxFacts
from mailstore.sealed.row_seal import RowSeal

from ..assembly.storage import row_seal
from .acts import Act, ActTransaction
from .folder_names import FolderNames, flags_given, shown_flags


@dataclass(frozen=True, slots=True)
class MessageAt:
    """Whose message it is: address of the mailbox, id of the message, path of its folder.

    `within` is needed only if copies of the message are in several folders.
    """

    mailbox: str
    message_id: str
    within: str | None = None


def move_message(act: Act, at: MessageAt, path: str) -> None:
    """Move a message into a folder. Raises InvalidState if it is there already."""
    with _begun(act, at) as one:
        one.move("message.moved", one.folders.find(path))


def delete_message(act: Act, at: MessageAt) -> None:
    """Move a message into Trash. Raises InvalidState if it is there already."""
    with _begun(act, at) as one:
        one.move("message.deleted", one.special(Role.TRASH))


def restore_message(act: Act, at: MessageAt, path: str) -> None:
    """Move a message from Trash into a folder. Raises InvalidState if it is not in Trash."""
    with _begun(act, at) as one:
        target = one.folders.find(path)
        source = one.special(Role.TRASH)
        held = [found for found in one.held if found.folder_id == source.id]
        if not held:
            raise InvalidState("the message is not in Trash")
        one.move("message.restored", target, held)


def expunge_message(act: Act, at: MessageAt) -> None:
    """Delete a message for good, without a way back."""
    with _begun(act, at) as one:
        source, uids = one.place()
        expunge.expunge(one.lock, source, uids)
        one.audit("message.deleted", source=one.named(source), for_good=True)


def flag_message(act: Act, at: MessageAt, add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Set and take away flags and keywords; returns those that the message then has, to be shown.

    Raises InvalidName, LimitReached.
    """
    with _begun(act, at) as one:
        source, uids = one.place()
        for mode, names in ((FlagMode.ADD, add), (FlagMode.REMOVE, remove)):
            if names:
                bits = one.bits(flags_given(names), mode)
                set_flags.set_flags(one.lock, source, uids, mode, bits, account_id=act.account_id)
        one.audit(
            "message.flagged",
            folder=one.named(source),
            added=_recorded(add),
            removed=_recorded(remove),
        )
        (found, *_) = reads.messages_by_uid(one.lock.conn, source, uids, act.account_id)
        return shown_flags(found.flags, found.keywords, None)


@dataclass(frozen=True, slots=True)
class _MessageAct:
    """An act in its transaction: the mailbox is locked, and the right to it was asked."""

    act: Act
    change: ActTransaction
    at: MessageAt
    mailbox: MailboxFacts
    lock: MailboxLock
    seal: RowSeal
    folders: FolderNames
    held: Sequence[FolderMessage]

    def special(self, role: Role) -> Folder:
        """A special folder, which each mailbox has that was looked at."""
        found = self.folders.special(role)
        if found is None:
            raise NotFound(f"the mailbox has no folder for {role}")
        return found

    def place(self, held: Sequence[FolderMessage] | None = None) -> tuple[int, list[int]]:
        """Folder of the message that is meant, and its UIDs there.  `held`: its entries."""
        held = self.held if held is None else held
        if self.at.within is not None:
            wanted = self.folders.find(self.at.within).id
            held = [one for one in held if one.folder_id == wanted]
            if not held:
                raise NotFound(f"there is no message {self.at.message_id} in this folder")
        if len({one.folder_id for one in held}) > 1:
            raise InvalidState("the message is in several folders: name one with --in")
        return held[0].folder_id, [one.uid for one in held]

    def move(self, event: str, target: Folder, held: Sequence[FolderMessage] | None = None) -> None:
        """Move it, and add the audit row."""
        source, uids = self.place(held)
        if source == target.id:
            raise InvalidState("the message is in this folder already")
        copy_move.move(self.lock, source, uids, target.id, now=self.act.clock())
        self.audit(event, source=self.named(source), target=self.named(target.id))

    def bits(self, names: Sequence[str], mode: FlagMode) -> Bits:
        """Bits of flags and keywords; new keywords are added to the mailbox."""
        flags, others = split_names(names)
        if mode is FlagMode.ADD:
            return Bits(flags, keyword_bits(self.lock, self.seal, others))
        return Bits(flags, find_keyword_bits(self.lock, self.seal, others))

    def named(self, folder_id: int) -> str:
        """The folder as the audit trail has it: names that a person has given are not in it."""
        return self.folders.shown(folder_id, content=False)

    def audit(self, event: str, **facts: Fact) -> None:
        """Add the audit row."""
        self.change.audit(
            event,
            mailbox=self.at.mailbox,
            message=self.at.message_id,
            subject=None,
            tenant=self.mailbox.tenant_id,
            result=Result.DONE,
            **facts,
        )


@contextmanager
def _begun(act: Act, at: MessageAt) -> Iterator[_MessageAct]:
    store = act.store
    seal = row_seal(store)
    with act.read() as seen:
        mailbox_id = seen.reach(at.mailbox, Action.ACT).id
    # In transactions of its own: a first look may place many messages.
    open_mailbox(store, mailbox_id, seal, act.clock).look()
    with act.write() as change:
        mailbox = change.reach(at.mailbox, Action.ACT)
        lock = lock_mailbox(change.connection, mailbox.id)
        check_present(change.connection, mailbox.id)
        held = reads.messages_by_id(change.connection, mailbox.id, [at.message_id])
        if not held:
            raise NotFound(f"there is no message {at.message_id} in the mailbox {at.mailbox}")
        folders = FolderNames(list_folders(change.connection, mailbox.id, seal))
        yield _MessageAct(act, change, at, mailbox, lock, seal, folders, held)
        if act.proof is not None:
            note_use(change.connection, act.proof, mailbox.id)  # the mailbox is in use


def _recorded(names: Sequence[str]) -> str | None:
    """Flags as the audit trail has them: names of keywords are a person's, and not in it."""
    flags, others = split_names(flags_given(names))
    return " ".join(shown_flags(flags, 0, None) + ["(keyword)"] * len(others)) or None
