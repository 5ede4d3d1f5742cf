"""A person's acts on messages in a mailbox: permitted, done and recorded as one transaction.

All raise as `mailbox_act.begin`; NotFound for a message that the mailbox has not, and for a folder;
InvalidState if the message is in several folders and none is named by `within`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mailstore.audit.event import Fact
from mailstore.errors import InvalidState, NotFound
from mailstore.folders import copy_move, expunge, reads, set_flags
from mailstore.folders.flags import Bits, FlagMode, split_names
from mailstore.folders.keywords import find_keyword_bits, keyword_bits
from mailstore.folders.reads import FolderMessage
from mailstore.folders.tree import Folder, Role

from ..acts import Act
from .folder_names import flags_given, shown_flags
from .mailbox_act import MailboxAct, begin


@dataclass(frozen=True, slots=True)
class MessageAt:
    """Whose message it is: address of the mailbox, id of the message, path of its folder.

    `within` is needed only if copies of the message are in several folders.
    """

    mailbox: str
    message_id: str
    within: str | None = None


def move_message(act: Act, at: MessageAt, path: str) -> None:
    """Move a message into a folder.  Raises InvalidState if it is there already."""
    with _begun(act, at) as one:
        one.move("message.moved", one.mailbox.folders.find(path))


def delete_message(act: Act, at: MessageAt) -> None:
    """Move a message into Trash.  Raises InvalidState if it is there already."""
    with _begun(act, at) as one:
        one.move("message.deleted", one.mailbox.special(Role.TRASH))


def restore_message(act: Act, at: MessageAt, path: str) -> None:
    """Move a message from Trash into a folder.  Raises InvalidState if it is not in Trash."""
    with _begun(act, at) as one:
        target, trash = one.mailbox.folders.find(path), one.mailbox.special(Role.TRASH)
        held = [found for found in one.held if found.folder_id == trash.id]
        if not held:
            raise InvalidState("the message is not in Trash")
        one.move("message.restored", target, held)


def expunge_message(act: Act, at: MessageAt) -> None:
    """Delete a message for good, without a way back."""
    with _begun(act, at) as one:
        source, uids = one.place(one.held)
        expunge.expunge(one.mailbox.lock, source, uids)
        one.audit("message.deleted", source=one.mailbox.named(source), for_good=True)


def flag_message(act: Act, at: MessageAt, add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Set and take away flags and keywords; returns those that the message then has, to be shown.

    Raises InvalidName, LimitReached.
    """
    with _begun(act, at) as one:
        lock, person = one.mailbox.lock, act.account_id
        source, uids = one.place(one.held)
        for mode, names in ((FlagMode.ADD, add), (FlagMode.REMOVE, remove)):
            if names:
                bits = one.bits(flags_given(names), mode)
                set_flags.set_flags(lock, source, uids, mode, bits, account_id=person)
        one.audit(
            "message.flagged",
            folder=one.mailbox.named(source),
            added=_recorded(add),
            removed=_recorded(remove),
        )
        (found, *_) = reads.messages_by_uid(lock.conn, source, uids, person)
        return shown_flags(found.flags, found.keywords, None)


@dataclass(frozen=True, slots=True)
class _MessageAct:
    """An act on a message; `held`: its places in the mailbox."""

    mailbox: MailboxAct
    at: MessageAt
    held: Sequence[FolderMessage]

    def place(self, held: Sequence[FolderMessage]) -> tuple[int, list[int]]:
        """Folder that is meant, of these places, and the message's UIDs there."""
        if self.at.within is not None:
            wanted = self.mailbox.folders.find(self.at.within).id
            held = [one for one in held if one.folder_id == wanted]
            if not held:
                raise NotFound(f"there is no message {self.at.message_id} in this folder")
        if len({one.folder_id for one in held}) > 1:
            raise InvalidState("the message is in several folders: name one with --in")
        return held[0].folder_id, [one.uid for one in held]

    def move(self, event: str, target: Folder, held: Sequence[FolderMessage] | None = None) -> None:
        """Move it from one of its places, any if none are given, and add the audit row."""
        source, uids = self.place(self.held if held is None else held)
        if source == target.id:
            raise InvalidState("the message is in this folder already")
        now = self.mailbox.act.clock()
        copy_move.move(self.mailbox.lock, source, uids, target.id, now=now)
        named = self.mailbox.named
        self.audit(event, source=named(source), target=named(target.id))

    def bits(self, names: Sequence[str], mode: FlagMode) -> Bits:
        """Bits of flags and keywords; new keywords are added to the mailbox."""
        flags, others = split_names(names)
        lock, seal = self.mailbox.lock, self.mailbox.seal
        if mode is FlagMode.ADD:
            return Bits(flags, keyword_bits(lock, seal, others))
        return Bits(flags, find_keyword_bits(lock, seal, others))

    def audit(self, event: str, **facts: Fact) -> None:
        """Add the audit row."""
        self.mailbox.audit(event, self.at.message_id, **facts)


@contextmanager
def _begun(act: Act, at: MessageAt) -> Iterator[_MessageAct]:
    with begin(act, at.mailbox) as mailbox:
        held = reads.messages_by_id(mailbox.lock.conn, mailbox.mailbox.id, [at.message_id])
        if not held:
            raise NotFound(f"there is no message {at.message_id} in the mailbox {at.mailbox}")
        yield _MessageAct(mailbox, at, held)


def _recorded(names: Sequence[str]) -> str | None:
    """Flags as the audit trail has them: names of keywords are a person's, and not in it."""
    flags, others = split_names(flags_given(names))
    return " ".join(shown_flags(flags, 0, None) + ["(keyword)"] * len(others)) or None
