"""Summaries, threads and searches of a mailbox, for a session.

A reader judges no rights: its maker has asked for them. It belongs to one session, like its
`MailboxView`, and is dropped with it; what it keeps unsealed is bounded, and only in its memory. It
reads what the view has placed; mail that nobody has looked at yet is not in a folder. Calls block.
All raise StoreUnavailable.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import bindparam, select

from mailstore.blobs.store import Store
from mailstore.db.folder_schema import folder_messages, mailbox_state
from mailstore.db.listed import listed_texts
from mailstore.folders.keywords import KeywordReader
from mailstore.folders.lock import lock_mailbox
from mailstore.mail.presence import check_present
from mailstore.sealed.row_seal import RowSeal
from mailstore.search.conditions import Scope
from mailstore.search.criteria import Criterion
from mailstore.search.searching import Hit, search, search_uids
from mailstore.summaries.model import Summary
from mailstore.summary_store.making import load_summaries, stored_summaries
from mailstore.summary_store.summary_rows import grouped
from mailstore.summary_store.threads import place_in_threads, thread_members, threads_of

KEPT: Final = 1000  # summaries that a session keeps unsealed

_HELD: Final = (
    select(folder_messages.c.message_id)
    .where(
        folder_messages.c.mailbox_id == bindparam("mailbox"),
        listed_texts(folder_messages.c.message_id, "ids"),
    )
    .distinct()
)
_PRIVATE: Final = select(mailbox_state.c.private_seen).where(
    mailbox_state.c.mailbox_id == bindparam("mailbox")
)


class MailboxReader:
    """The messages of a mailbox; made by `open_reader`. `account_id`: the person, if known."""

    def __init__(
        self, store: Store, mailbox_id: int, seal: RowSeal, account_id: int | None = None
    ) -> None:
        self.mailbox_id = mailbox_id
        self.account_id = account_id
        self._store = store
        self._seal = seal
        self._keywords = KeywordReader(mailbox_id, seal)
        self._kept: OrderedDict[tuple[str, bool], Summary] = OrderedDict()

    def summaries(
        self, message_ids: Collection[str], *, structure: bool = False
    ) -> dict[str, Summary | None]:
        """Summaries by message id; those that are missing are made. None: unreadable now.

        A message that the mailbox does not hold is left out. `structure`: with the tree of parts.
        """
        wanted = list(dict.fromkeys(message_ids))
        asked = wanted if self._kept else ()
        kept = {one: summary for one in asked if (summary := self._known(one, structure=structure))}
        new = [one for one in wanted if one not in kept]
        found = stored_summaries(
            self._store, self._seal, new, structure=structure, mailbox_id=self.mailbox_id
        )
        if len(found) < len(wanted):
            held = self._held([one for one in wanted if one not in found])
            missing = [one for one in new if one in held]
            made = load_summaries(self._store, self._seal, missing, structure=structure)
            found |= made | {one: summary for one, summary in kept.items() if one in held}
        for one in new:
            if summary := found.get(one):
                self._kept[one, structure] = summary
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return {one: found[one] for one in wanted if one in found}

    def _known(self, message_id: str, *, structure: bool) -> Summary | None:
        return self._kept.get((message_id, True)) or self._kept.get((message_id, structure))

    def threads(self, message_ids: Collection[str]) -> dict[str, str]:
        """Thread ids by message id (RFC 8621 §3); messages without a thread get one.

        A message that the mailbox does not hold is left out.
        """
        with self._store.database.read() as conn:
            found = threads_of(conn, self.mailbox_id, message_ids)
        missing = sorted(self._held([one for one in message_ids if one not in found]))
        for ids in grouped(missing):
            found |= self._place(list(ids))
        return found

    def thread(self, thread_id: str) -> list[str]:
        """Message ids of a thread, by age; none if the mailbox has no such thread."""
        with self._store.database.read() as conn:
            return thread_members(conn, self.mailbox_id, thread_id)

    def search(self, criterion: Criterion) -> list[Hit]:
        """Messages of all folders that meet a criterion, by folder and UID; copies too."""
        return search(self._store, self._seal, self._scope(None), criterion)

    def search_folder(self, folder_id: int, criterion: Criterion) -> list[int]:
        """UIDs of the messages of a folder that meet a criterion, in order."""
        return search_uids(self._store, self._seal, self._scope(folder_id), criterion)

    def _scope(self, folder_id: int | None) -> Scope:
        with self._store.database.read() as conn:
            private = conn.scalar(_PRIVATE, {"mailbox": self.mailbox_id})
            keywords = self._keywords.read(conn)
        person = self.account_id if private else None
        return Scope(self.mailbox_id, folder_id, person, lambda name: keywords.bits([name]))

    def _held(self, message_ids: Collection[str]) -> set[str]:
        with self._store.database.read() as conn:
            found = conn.execute(_HELD, {"mailbox": self.mailbox_id, "ids": message_ids})
            return {one for (one,) in found.cursor.fetchall()}

    def _place(self, message_ids: list[str]) -> Mapping[str, str]:
        summaries = load_summaries(self._store, self._seal, message_ids)
        keys = {one: None if found is None else found.thread for one, found in summaries.items()}
        with self._store.database.write() as conn:
            lock_mailbox(conn, self.mailbox_id)
            check_present(conn, self.mailbox_id)  # erased, it gets no rows any more
            return place_in_threads(conn, self.mailbox_id, self._seal, keys)


def open_reader(
    store: Store, mailbox_id: int, seal: RowSeal, account_id: int | None = None
) -> MailboxReader:
    """Open a mailbox for reading; costs no query."""
    return MailboxReader(store, mailbox_id, seal, account_id)
