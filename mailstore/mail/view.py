"""A mailbox as doors see it: IMAP, JMAP, web and the command line are written against this.

A view belongs to one session. It judges no rights: its maker has asked for them. Calls block, and
are safe to repeat; changes are durable at their return. New mail is placed by `look`, `folders` and
`changes`, so that a session learns of it when it asks. A state that a session has seen as `modseq`
never changes without a higher one.

All methods raise StoreUnavailable; NotFound for a folder that is not in the mailbox, and for a
mailbox whose erasure has begun; KeyMissing and SealBroken for names that cannot be opened.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from foundation.failpoints import failpoint
from mailstore.blobs.bodies import PreparedBody
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.db.dialect import keep_snapshot
from mailstore.errors import NotFound, StoreUnavailable
from mailstore.folders import append, copy_move, expunge, private_seen, reads, set_flags, tree
from mailstore.folders.flags import Bits, FlagMode, flag_names, split_names
from mailstore.folders.keywords import (
    KeywordReader,
    Keywords,
    find_keyword_bits,
    keyword_bits,
)
from mailstore.folders.lock import MailboxLock, lock_mailbox
from mailstore.folders.place import BATCH, has_new, place_batch
from mailstore.folders.reads import FlagRow, FolderMessage, MailboxState
from mailstore.folders.rows import rows_of
from mailstore.folders.set_flags import FlagsSet
from mailstore.folders.tree import Folder
from mailstore.mail.presence import check_present
from mailstore.mail.quota import Quota, check_room, mailbox_quota
from mailstore.mail.view_facts import (
    Appended,
    FolderChanges,
    MailboxChanges,
    NewMessage,
    Transferred,
)
from mailstore.sealed.draft import Draft
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.assignments import assigned_uids, assignments_of
from mailstore.teams.model import ASSIGNED, Assignment


class MailboxView:
    """A mailbox for a session; made by `open_mailbox`. `account_id`: the person, if known."""

    def __init__(
        self,
        store: Store,
        mailbox_id: int,
        seal: RowSeal,
        clock: Callable[[], datetime],
        account_id: int | None = None,
    ) -> None:
        self.mailbox_id = mailbox_id
        self.account_id = account_id
        self._store = store
        self._database: Database = store.database
        self._seal = seal
        self._clock = clock
        self._keywords = KeywordReader(mailbox_id, seal)

    # Reading.

    def look(self) -> MailboxState:
        """Place new mail; the state then. Writes nothing if there is none."""
        self._place()
        with self._reading() as (_, state):
            return state

    def folders(self) -> list[Folder]:
        """All folders with their counters, the oldest first; the inbox is the first of all."""
        self._place()
        with self._reading() as (conn, state):
            return self._folders(conn, state)

    def folder(self, folder_id: int) -> Folder:
        """A folder with its counters."""
        with self._reading() as (conn, state):
            return self._folder(conn, state, folder_id)

    def changes(self, folder_id: int, since: int = 0) -> FolderChanges:
        """Place new mail; changes of a folder after a modification sequence; 0: all messages.

        For SELECT, QRESYNC (RFC 7162 §3.2.5) and each later look of a session.
        """
        self._place()
        with self._reading() as (conn, state):
            folder = self._folder(conn, state, folder_id)
            known = 0 < since >= state.floor
            # A state that the mailbox has not given is of another copy of it.
            known = known and since <= state.modseq
            rows = reads.flags_since(
                conn, self.mailbox_id, folder_id, since if known else 0, self._own(state)
            )
            gone = None
            if known:
                gone = tuple(reads.vanished_since(conn, self.mailbox_id, folder_id, since))
            keywords = self._keywords.read(conn)
            taken = assigned_uids(conn, self.mailbox_id, folder_id, self._clock())
            return FolderChanges(folder, state.modseq, keywords, rows, gone, taken)

    def mailbox_changes(self, since: int, limit: int | None = None) -> MailboxChanges:
        """Place new mail; changes of the whole mailbox after a modification sequence.

        `limit`: about as many messages, the lowest modification sequences first; `modseq` is then
        how far they reach.
        """
        self._place()
        with self._reading() as (conn, state):
            if not state.floor <= since <= state.modseq:
                return MailboxChanges(state.modseq, complete=False)
            return self._mailbox_changes(conn, state, since, limit)

    def flags(self, folder_id: int) -> Sequence[FlagRow]:
        """Flags of all messages of a folder by UID, plain tuples as `FlagRow`."""
        with self._reading() as (conn, state):
            tree.check_folder(conn, self.mailbox_id, folder_id)
            return reads.flags_since(conn, self.mailbox_id, folder_id, 0, self._own(state))

    def messages(self, folder_id: int, uids: Collection[int] | None = None) -> list[FolderMessage]:
        """Messages of a folder by UID, those of a list or all; absent ones are left out."""
        with self._reading() as (conn, state):
            tree.check_folder(conn, self.mailbox_id, folder_id)
            return reads.messages_by_uid(conn, folder_id, uids, self._own(state))

    def find(self, message_ids: Collection[str]) -> list[FolderMessage]:
        """All entries of these messages, in whichever folder; copies included."""
        with self._reading() as (conn, state):
            return reads.messages_by_id(conn, self.mailbox_id, message_ids, self._own(state))

    def keywords(self) -> Keywords:
        """Names of the mailbox's keywords by bit."""
        with self._reading() as (conn, _):
            return self._keywords.read(conn)

    def flag_names(self, flags: int, keywords: int, *, assigned: bool = False) -> list[str]:
        """Names of a message's flags and keywords; `ASSIGNED` if a person has taken it."""
        names = flag_names(flags) + self.keywords().of(keywords)
        return [*names, ASSIGNED] if assigned else names

    def assignments(self, message_ids: Collection[str]) -> dict[str, Assignment]:
        """Assignments of these messages as of now, by message; free ones are left out."""
        with self._reading() as (conn, _):
            return assignments_of(conn, self.mailbox_id, message_ids, self._clock())

    def quota(self) -> Quota:
        """Quota of the mailbox and its use, new mail included."""
        with self._reading() as (conn, _):
            return mailbox_quota(conn, self.mailbox_id)

    # Changing messages.

    def set_flags(
        self,
        folder_id: int,
        uids: Collection[int],
        mode: FlagMode,
        names: Sequence[str],
        *,
        unchanged_since: int | None = None,
    ) -> FlagsSet:
        """Add, remove or set flags and keywords by name; absent UIDs are passed over.

        Raises InvalidName, LimitReached for keywords.
        """
        with self._writing() as lock:
            bits = self._bits(lock, names, add=mode is not FlagMode.REMOVE)
            return set_flags.set_flags(
                lock,
                folder_id,
                uids,
                mode,
                bits,
                unchanged_since=unchanged_since,
                account_id=self.account_id,
            )

    def draft(self) -> Draft:
        """Begin the body of a message to append."""
        return self._store.blobs.draft()

    def append(self, folder_id: int, new: Sequence[NewMessage]) -> Appended:
        """Append messages, all or none; their drafts have ended at return.

        Raises OverQuota, InvalidName, LimitReached.
        """
        bodies = self._prepared(new)
        with self._writing() as lock:
            return self._append(lock, folder_id, new, bodies)

    def replace(self, folder_id: int, uid: int, target_id: int, new: NewMessage) -> Appended:
        """Append a message and expunge another, in one change (RFC 8508).

        Raises as `append`, and NotFound if the other is gone.
        """
        bodies = self._prepared([new])
        with self._writing() as lock:
            if not expunge.expunge(lock, folder_id, [uid]):
                raise NotFound("the message to replace is gone")
            return self._append(lock, target_id, [new], bodies)

    def copy(self, folder_id: int, uids: Collection[int], target_id: int) -> Transferred:
        """Copy messages into a folder, all or none; absent UIDs are passed over.

        Raises OverQuota.
        """
        with self._writing() as lock:
            rows = rows_of(lock, folder_id, uids)
            check_room(lock.conn, self.mailbox_id, sum(row.size for row in rows))
            pairs = copy_move.copy(lock, rows, target_id, now=self._clock())
            return Transferred(self._validity(lock, target_id), tuple(pairs))

    def move(self, folder_id: int, uids: Collection[int], target_id: int) -> Transferred:
        """Move messages into a folder, all or none; absent UIDs are passed over."""
        with self._writing() as lock:
            pairs = copy_move.move(lock, folder_id, uids, target_id, now=self._clock())
            return Transferred(self._validity(lock, target_id), tuple(pairs))

    def expunge(self, folder_id: int, uids: Collection[int]) -> tuple[int, ...]:
        """Expunge the messages with these UIDs, whatever their flags; UIDs that were there."""
        with self._writing() as lock:
            return expunge.expunge(lock, folder_id, uids)

    # Changing folders.

    def create_folder(self, name: str, parent_id: int | None = None) -> Folder:
        """Make a folder. Raises InvalidName, Conflict, LimitReached."""
        self._place()  # special folders come first
        with self._writing() as lock:
            made = tree.create_folder(lock, self._seal, name, parent_id, now=self._clock())
            return tree.get_folder(lock.conn, self.mailbox_id, made, self._seal)

    def rename_folder(self, folder_id: int, name: str, parent_id: int | None) -> None:
        """Give a folder another name and place. Raises as `create_folder`; InvalidState."""
        with self._writing() as lock:
            tree.rename_folder(lock, self._seal, folder_id, name, parent_id)

    def remove_folder(self, folder_id: int) -> None:
        """Remove a folder and its messages for good. Raises InvalidState, Conflict."""
        with self._writing() as lock:
            expunge.remove_folder(lock, folder_id)

    def subscribe(self, folder_id: int, *, subscribed: bool = True) -> None:
        """Subscribe to a folder, or no longer."""
        with self._writing() as lock:
            tree.set_subscribed(lock, folder_id, subscribed=subscribed)

    def set_private_seen(self, *, private: bool) -> None:
        r"""Make \Seen private to each person, or shared again."""
        with self._writing() as lock:
            private_seen.set_private_seen(lock, private=private)

    # Within.

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, MailboxState]]:
        with self._database.read() as conn:
            keep_snapshot(conn)
            check_present(conn, self.mailbox_id)
            yield conn, reads.read_state(conn, self.mailbox_id)

    @contextmanager
    def _writing(self) -> Iterator[MailboxLock]:
        with self._database.write() as conn:
            lock = lock_mailbox(conn, self.mailbox_id)
            # Under the lock, which erasure takes too.
            check_present(conn, self.mailbox_id)
            yield lock
        failpoint("folders.committed")

    def _place(self) -> None:
        with self._database.read() as conn:
            # A team may have worked on mail before the first look: folders are asked for.
            if tree.has_folders(conn, self.mailbox_id) and not has_new(conn, self.mailbox_id):
                return
        placed = BATCH
        while placed == BATCH:  # the lock is released between batches
            with self._writing() as lock:
                tree.make_special_folders(lock, self._seal, now=self._clock())
                placed = place_batch(lock)

    def _own(self, state: MailboxState) -> int | None:
        return self.account_id if state.private_seen else None

    def _folders(self, conn: Connection, state: MailboxState) -> list[Folder]:
        found = tree.list_folders(conn, self.mailbox_id, self._seal)
        own = self._own(state)
        if own is None:
            return found
        unseen = reads.own_unseen(conn, self.mailbox_id, own)
        return [replace(one, unseen=unseen.get(one.id, 0)) for one in found]

    def _folder(self, conn: Connection, state: MailboxState, folder_id: int) -> Folder:
        found = tree.get_folder(conn, self.mailbox_id, folder_id, self._seal)
        own = self._own(state)
        if own is None:
            return found
        unseen = reads.own_unseen(conn, self.mailbox_id, own)
        return replace(found, unseen=unseen.get(folder_id, 0))

    def _mailbox_changes(
        self, conn: Connection, state: MailboxState, since: int, limit: int | None
    ) -> MailboxChanges:
        found = reads.messages_changed(conn, self.mailbox_id, since, limit, self._own(state))
        modseq = state.modseq
        if limit is not None and len(found) == limit:
            # The last one may share its modification sequence with others.
            modseq = found[-1].modseq
            whole = [one for one in found if one.modseq < modseq]
            if whole:
                found, modseq = whole, whole[-1].modseq
            else:
                every = reads.messages_changed(conn, self.mailbox_id, since, None, self._own(state))
                found = [one for one in every if one.modseq <= modseq]
        gone = reads.vanished_in_mailbox(conn, self.mailbox_id, since)
        changed = (
            one
            for one in self._folders(conn, state)
            if max(one.modseq, one.messages_modseq) > since
        )
        return MailboxChanges(
            modseq,
            complete=True,
            messages=tuple(found),
            vanished=tuple(one for one in gone if one.modseq <= modseq),
            folders=tuple(changed),
            folders_removed=tuple(reads.folders_removed(conn, self.mailbox_id, since)),
        )

    def _bits(self, lock: MailboxLock, names: Sequence[str], *, add: bool = True) -> Bits:
        flags, others = split_names(names)
        if add:
            return Bits(flags, keyword_bits(lock, self._seal, others))
        return Bits(flags, find_keyword_bits(lock, self._seal, others))

    def _prepared(self, new: Sequence[NewMessage]) -> list[PreparedBody]:
        found = []
        for one in self._store.blobs.prepare([item.draft for item in new]):
            if isinstance(one, StoreUnavailable):
                raise one
            found.append(one)
        return found

    def _append(
        self,
        lock: MailboxLock,
        folder_id: int,
        new: Sequence[NewMessage],
        bodies: Sequence[PreparedBody],
    ) -> Appended:
        now = self._clock()
        check_room(lock.conn, self.mailbox_id, sum(one.draft.size for one in new))
        self._store.blobs.keep(lock.conn, bodies, now=now)
        # Keywords of all messages first: a bit that no row has yet may be given away.
        self._bits(lock, [name for one in new for name in one.flags])
        prepared = [
            append.PreparedMessage(
                one.id,
                body,
                one.draft.size,
                self._bits(lock, one.flags),
                one.internal_date or now,
            )
            for one, body in zip(new, bodies, strict=True)
        ]
        uids = append.append(
            lock, folder_id, prepared, origin="", now=now, account_id=self.account_id
        )
        return Appended(self._validity(lock, folder_id), tuple(uids))

    def _validity(self, lock: MailboxLock, folder_id: int) -> int:
        return tree.uid_validity(lock.conn, self.mailbox_id, folder_id)


def open_mailbox(
    store: Store,
    mailbox_id: int,
    seal: RowSeal,
    clock: Callable[[], datetime],
    account_id: int | None = None,
) -> MailboxView:
    """Open a mailbox for a session.

    Raises NotFound if there is none, or its erasure has begun; StoreUnavailable.
    """
    with store.database.read() as conn:
        check_present(conn, mailbox_id)
    return MailboxView(store, mailbox_id, seal, clock, account_id)
